"""tweepy's `StreamingClient` for the simulator; the only part that a user would not write."""

import os

import tweepy
from tweepy.streaming import BaseStream


class StreamingClient(tweepy.StreamingClient):
    """tweepy's client, with the simulator instead of its fixed host."""

    def _connect(self, method, endpoint, **kwargs):
        self.session.headers["Authorization"] = f"Bearer {self.bearer_token}"
        url = f"{os.environ['X_API_URL']}/2/tweets/{endpoint}/stream"
        BaseStream._connect(self, method, url, **kwargs)  # noqa: SLF001  # the overridden method
