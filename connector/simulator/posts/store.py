"""The posts of the last days, bounded in number, for search, backfill and recovery."""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any

import orjson

from connector.simulator.posts.post import Object, Post
from connector.simulator.snowflakes import first_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FRESH = 2048
"""How many posts are kept as objects; older posts are kept as compressed JSON."""


def _pack(post: Post) -> bytes:
    parts: dict[str, Any] = {
        "data": post.data,
        "references": post.references,
        "media": post.media,
        "polls": post.polls,
        "places": post.places,
    }
    return zlib.compress(orjson.dumps(parts), 1)


def _unpack(post_id: int, packed: bytes, users: Mapping[str, Object]) -> Post:
    parts = orjson.loads(zlib.decompress(packed))
    return Post(
        id=post_id,
        data=parts["data"],
        references=tuple(parts["references"]),
        media=tuple(parts["media"]),
        polls=tuple(parts["polls"]),
        places=tuple(parts["places"]),
        users=users,
    )


class PostStore:
    """Keeps posts in the order of their ids, which is the order of their times."""

    def __init__(self, *, capacity: int, days: float) -> None:
        self._capacity = capacity
        self._seconds = days * 86400
        self._ids: list[int] = []
        self._fresh: dict[int, Post] = {}
        self._packed: dict[int, tuple[bytes, Mapping[str, Object]]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, post: Post, now: float) -> None:
        """Keep a post; drop posts that are too old, and the oldest posts if there are too many."""
        if not self._ids or post.id > self._ids[-1]:
            self._ids.append(post.id)
        else:
            insort(self._ids, post.id)
        self._fresh[post.id] = post
        if len(self._fresh) > FRESH:
            oldest = next(iter(self._fresh))
            leaving = self._fresh.pop(oldest)
            self._packed[oldest] = _pack(leaving), leaving.users
        self._trim(now)

    def _trim(self, now: float) -> None:
        kept_from = first_id(int((now - self._seconds) * 1000))
        gone = max(len(self._ids) - self._capacity, 0)
        while gone < len(self._ids) and self._ids[gone] < kept_from:
            gone += 1
        for post_id in self._ids[:gone]:
            self._fresh.pop(post_id, None)
            self._packed.pop(post_id, None)
        del self._ids[:gone]

    def ids(self, low: int, high: int) -> list[int]:
        """Return the ids from *low* to before *high*, the oldest first."""
        return self._ids[bisect_left(self._ids, low) : bisect_left(self._ids, high)]

    def newest_first(self, low: int, high: int) -> Iterator[Post]:
        """Yield the posts with ids from *low* to before *high*, the newest first."""
        for at in range(bisect_left(self._ids, high) - 1, bisect_left(self._ids, low) - 1, -1):
            yield self.get(self._ids[at])

    def remove(self, post_id: int) -> Post | None:
        """Forget a post; return it, or none if the store does not have it."""
        at = bisect_left(self._ids, post_id)
        if at == len(self._ids) or self._ids[at] != post_id:
            return None
        post = self.get(post_id)
        del self._ids[at]
        self._fresh.pop(post_id, None)
        self._packed.pop(post_id, None)
        return post

    def of_author(self, user_id: str) -> list[int]:
        """Return the ids of a user's posts, the oldest first."""
        return [post_id for post_id in self._ids if self.get(post_id).data["author_id"] == user_id]

    def get(self, post_id: int) -> Post:
        """
        Return a post.

        Raises:
            KeyError: the store does not have the post, or no longer.
        """
        post = self._fresh.get(post_id)
        return post if post is not None else _unpack(post_id, *self._packed[post_id])
