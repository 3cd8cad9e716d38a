"""Synthetic users, made when they are first named, and short links."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.lexicon import WORDS

if TYPE_CHECKING:
    import random

    from connector.simulator.posts.post import Object

SHORT_LINK_CHARACTERS = string.ascii_lowercase + string.digits
DISPLAYED_PATH = 15
"""How many characters of a path `display_url` shows."""


class Links:
    """Makes short links, and the addresses behind them."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng

    def target(self, short: str, target: str | None = None) -> Object:
        """Return a short link with its target, as in `entities.urls`; without *target* with a made-up one."""
        target = target or f"https://{self.code(9)}.example.com/en/{self.code(12)}"
        host, _, path = target.partition("://")[2].partition("/")
        shown = host + (f"/{path[:DISPLAYED_PATH]}…" if len(path) > DISPLAYED_PATH else f"/{path}")
        return {"url": short, "expanded_url": target, "display_url": shown}

    def short(self) -> str:
        return f"https://example.com/{self.code(3)}"

    def code(self, length: int) -> str:
        return "".join(self._random.choices(SHORT_LINK_CHARACTERS, k=length))


class People:
    """All users by id; those that are made at the start write the posts."""

    def __init__(self, rng: random.Random, links: Links, *, count: int) -> None:
        self._random = rng
        self._links = links
        self.users: dict[str, Object] = {}
        self._names: dict[str, str] = {}
        for number in range(max(count, 2)):
            self._join(f"synthetic_user_{number:05d}")
        self._regulars = list(self.users)

    def someone(self) -> Object:
        """Return a random user who writes posts."""
        return self.users[self._random.choice(self._regulars)]

    def user(self, name_or_id: str) -> Object:
        """Return the user of that name or id; make the user if there is none."""
        wanted = name_or_id.removeprefix("@")
        if wanted in self.users:
            return self.users[wanted]
        known = self._names.get(wanted.lower())
        if known is not None:
            return self.users[known]
        return self._join(
            f"synthetic_user_{wanted}" if wanted.isdecimal() else wanted,
            user_id=wanted if wanted.isdecimal() else None,
        )

    def _join(self, username: str, *, user_id: str | None = None) -> Object:
        rng = self._random
        if user_id is None:
            # Users older than snowflakes have short ids.
            old = rng.random() < 0.3  # noqa: PLR2004
            user_id = (
                str(rng.randrange(9_000_000_000, 10_000_000_000))
                if old
                else str(rng.randrange(700_000_000_000_000_000, 1 << 61))
            )
        link = self._links.short()
        description = " ".join(rng.choices(WORDS["en"], k=rng.randint(0, 18)))
        user: Object = {
            "created_at": rfc3339_second(rng.randrange(1_230_000_000, 1_700_000_000)),
            "description": description,
            "entities": {"url": {"urls": [{"start": 0, "end": 23, **self._links.target(link)}]}},
            "id": user_id,
            "location": "Exampleton, EX",
            "name": " ".join(rng.choices(WORDS["en"][:29], k=2)).title() + rng.choice(["", "", "", " 🏝"]),
            "profile_image_url": "https://img.example.com/profile_images/"
            f"{rng.randrange(1 << 60)}/{self._links.code(8)}_normal.jpg",
            "protected": False,
            "public_metrics": {
                "followers_count": int(rng.paretovariate(0.7) * 20) % 50_000_000,
                "following_count": rng.randrange(5000),
                "tweet_count": rng.randrange(1, 100_000),
                "listed_count": rng.randrange(200),
            },
            "url": link,
            "username": username,
            "verified": rng.random() < 0.1,  # noqa: PLR2004
            "verified_type": "none",
        }
        self.users[user_id] = user
        self._names[username.lower()] = user_id
        return user
