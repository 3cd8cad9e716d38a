"""What comes with a post: media, polls, places and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.lexicon import DOMAINS, WORDS

if TYPE_CHECKING:
    import random

    from connector.simulator.posts.people import Links
    from connector.simulator.posts.post import Object
    from connector.simulator.snowflakes import Snowflakes


class Parts:
    """Makes the objects that come with a post; *ids* are for objects that are older than the post."""

    def __init__(self, rng: random.Random, *, links: Links, ids: Snowflakes) -> None:
        self._random = rng
        self._links = links
        self._ids = ids

    def before(self, at: float, most: float) -> int:
        """Return a random time up to *most* seconds before *at*, in milliseconds."""
        return int((at - self._random.uniform(0.001, most)) * 1000)

    def medium(self, at: float, kind: str) -> Object:
        """Return a photo, a video or an animated GIF."""
        rng = self._random
        prefix = {"photo": "3", "video": "7", "animated_gif": "16"}[kind]
        key = f"{prefix}_{self._ids.take(self.before(at, 5))}"
        medium: Object = {"media_key": key, "type": kind, "height": 720, "width": 1280}
        picture = f"https://img.example.com/media/{self._links.code(15)}.jpg"
        if kind == "photo":
            return {**medium, "url": picture}
        medium |= {"preview_image_url": picture, "variants": []}
        if kind == "video":
            medium |= {
                "duration_ms": rng.randrange(1000, 140_000),
                "public_metrics": {"view_count": 0},
            }
        return medium

    def poll(self, at: float) -> Object:
        """Return a poll that ends a day after *at*."""
        rng = self._random
        return {
            "id": str(self._ids.take(self.before(at, 0.1))),
            "voting_status": "open",
            "duration_minutes": 1440,
            "options": [
                {"position": n, "label": f"“{rng.choice(WORDS['en'])}”", "votes": 0}
                for n in range(1, rng.randint(3, 5))
            ],
            "end_datetime": rfc3339_second(at + 86400),
        }

    def place(self, country: str | None) -> tuple[Object, Object]:
        """Return a place, and the `geo` of a post from there."""
        rng = self._random
        longitude, latitude = (
            round(rng.uniform(-42.7, -42.5), 6),
            round(rng.uniform(34.4, 34.6), 6),
        )
        place = {
            "geo": {
                "type": "Feature",
                "bbox": [-42.7, 34.4, -42.5, 34.6],
                "properties": {},
            },
            "country_code": (country or "ZZ").upper(),
            "name": "Exampleton",
            "id": f"{rng.getrandbits(64):016x}",
            "place_type": "city",
            "country": "Synthetic Republic",
            "full_name": "Exampleton, EX",
        }
        geo = {
            "place_id": place["id"],
            "coordinates": {"type": "Point", "coordinates": [longitude, latitude]},
        }
        return place, geo

    def annotations(self) -> list[Object]:
        """Return context annotations; half of the posts have none."""
        rng = self._random
        if rng.random() < 0.55:  # noqa: PLR2004
            return []
        annotations = []
        for _ in range(rng.randint(1, 7)):
            domain, name = rng.choice(DOMAINS)
            annotations.append(
                {
                    "domain": {
                        "id": domain,
                        "name": name,
                        "description": " ".join(rng.choices(WORDS["en"], k=12)),
                    },
                    "entity": {
                        "id": str(rng.randrange(10**10, 10**19)),
                        "name": " ".join(rng.choices(WORDS["en"], k=2)).title(),
                    },
                }
            )
        return annotations
