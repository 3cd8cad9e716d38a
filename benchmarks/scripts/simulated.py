"""tweepy's `StreamingClient`, pointed at the simulator: the one thing that people would not write."""

import os

import tweepy
from tweepy.streaming import BaseStream


class StreamingClient(tweepy.StreamingClient):
    """The same client; only tweepy's fixed host is another one."""

    def _connect(self, method, endpoint, **kwargs):
        self.session.headers["Authorization"] = f"Bearer {self.bearer_token}"
        url = f"{os.environ['X_API_URL']}/2/tweets/{endpoint}/stream"
        BaseStream._connect(self, method, url, **kwargs)  # noqa: SLF001  # the method that it overrides
