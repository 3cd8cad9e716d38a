"""Texts of posts, written piece by piece with the offsets of their entities."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector.simulator.posts.lexicon import EMOJI, UNSPACED, WORDS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from connector.simulator.posts.people import Links, People
    from connector.simulator.posts.post import Object
    from connector.simulator.posts.recipes import Recipe
    from connector.simulator.settings import SimulatorSettings

_ENTITY = re.compile(
    r"(?P<url>https?://\S+)|[#](?P<tag>\w*[^\W\d]\w*)|@(?P<user>\w+)"
    r"|\$(?P<cash>[A-Za-z]{1,6})\b"
)
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))


def weight(character: str) -> int:
    """Return how much of the 280 of a post a character uses."""
    code = ord(character)
    return 1 if any(low <= code <= high for low, high in _LIGHT) else 2


@dataclass(slots=True, kw_only=True)
class Draft:
    """An unfinished text; offsets count code points of the escaped text, as on the wire."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    entities: dict[str, list[Object]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def add(self, raw: str, *, glue: bool = False) -> tuple[int, int]:
        """Escape *raw* and append it; return its offsets."""
        escaped = html.escape(raw, quote=False)
        if self.parts and not glue:
            self.parts.append(" ")
            self.length += 1
        start = self.length
        self.parts.append(escaped)
        self.length += len(escaped)
        return start, self.length

    def entity(self, kind: str, shown: str, **values: Any) -> None:
        """Append a text, and record it as an entity of this kind."""
        start, end = self.add(shown)
        self.entities.setdefault(kind, []).append({"start": start, "end": end, **values})


class Drafter:
    """Writes texts by a recipe; what the recipe leaves open is chosen at random."""

    def __init__(self, settings: SimulatorSettings, rng: random.Random, *, people: People, links: Links) -> None:
        self._settings = settings
        self._random = rng
        self._people = people
        self._links = links
        self._languages = list(settings.languages), list(settings.languages.values())

    def draft(self, recipe: Recipe, draft: Draft | None = None, *, sentences: int = 0) -> tuple[Draft, str]:
        """Write the text of a recipe, after the text of *draft* if given; return the draft and its language."""
        rng = self._random
        draft = draft or Draft()
        lang = recipe.lang or rng.choices(*self._languages)[0]
        if recipe.text is not None:
            self._read(draft, recipe.text)
            return draft, lang
        pieces = list(self._words(lang, sentences))
        for phrase in recipe.phrases:
            pieces.insert(rng.randint(0, len(pieces)), phrase)
        apart = True
        for piece in pieces:
            wanted = piece in recipe.phrases
            draft.add(piece, glue=lang in UNSPACED and not (apart or wanted))
            apart = wanted
        tags = recipe.hashtags
        if not tags and rng.random() < self._settings.hashtag_share:
            some = self._settings.hashtags
            tags = rng.sample(some, k=min(len(some), rng.randint(1, 2)))
        for tag in tags:
            name = tag.removeprefix("#")
            draft.entity("hashtags", f"#{name}", tag=name)
        for tag in recipe.cashtags:
            draft.entity("cashtags", f"${tag.upper()}", tag=tag.upper())
        for name in recipe.mentions:
            self.mention(draft, self._people.user(name))
        for link in recipe.links:
            self.add_link(draft, link)
        return draft, lang

    def _words(self, lang: str, sentences: int) -> Iterator[str]:
        rng = self._random
        words = WORDS.get(lang, WORDS["en"])
        for sentence in range(sentences or rng.randint(1, 3)):
            if sentence:
                yield rng.choice([".", "!", "&", "…"])
            yield from rng.choices(words, k=rng.randint(3, 14))
        if rng.random() < 0.25:  # noqa: PLR2004
            yield rng.choice(EMOJI)

    def _read(self, draft: Draft, text: str) -> None:
        """Append a given text; links, hashtags, cashtags and mentions in the text become entities."""
        at = 0
        for match in _ENTITY.finditer(text):
            if match.start() > at:
                draft.add(text[at : match.start()].strip(), glue=not draft.parts)
            if match["url"]:
                self.add_link(draft, match["url"])
            elif match["tag"]:
                draft.entity("hashtags", match[0], tag=match["tag"])
            elif match["cash"]:
                draft.entity("cashtags", match[0], tag=match["cash"])
            else:
                self.mention(draft, self._people.user(match["user"]))
            at = match.end()
        if rest := text[at:].strip():
            draft.add(rest)

    def mention(self, draft: Draft, user: Object) -> None:
        """Append the name of a user."""
        draft.entity("mentions", f"@{user['username']}", username=user["username"], id=user["id"])

    def add_link(self, draft: Draft, target: str, *, card: bool = True) -> None:
        """Append a short link to *target*; with *card* also the title, description and images of the page."""
        short = self._links.short()
        values = self._links.target(short, target)
        if card:
            words = self._random.choices(WORDS["en"], k=40)
            values |= {
                "images": [
                    {
                        "url": f"https://img.example.com/news_img/{self._links.code(15)}",
                        "width": width,
                        "height": height,
                    }
                    for width, height in ((1200, 630), (150, 150))
                ],
                "status": 200,
                "title": " ".join(words[:7]).capitalize(),
                "description": " ".join(words[7:]).capitalize(),
                "unwound_url": target,
            }
        draft.entity("urls", short, **values)
