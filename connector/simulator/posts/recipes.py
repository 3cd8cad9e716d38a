"""What a post must contain to match a rule, for rules where that is easy to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector.simulator.rules.tree import And, Node, Or, Term

if TYPE_CHECKING:
    import random


@dataclass(slots=True, kw_only=True)
class Recipe:
    """What one post must contain; the generator chooses what is empty here."""

    phrases: list[str] = field(default_factory=list)
    hashtags: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)
    cashtags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    author: str | None = None
    to: str | None = None
    lang: str | None = None
    kind: str | None = None
    country: str | None = None
    text: str | None = None
    """The whole text; links, hashtags, cashtags and mentions in the text become entities."""


_KINDS = {
    ("is", "retweet"): "retweet",
    ("is", "reply"): "reply",
    ("is", "quote"): "quote",
    ("has", "media"): "photo",
    ("has", "images"): "photo",
    ("has", "video_link"): "video",
    ("has", "geo"): "place",
}
_LISTS = {
    "keyword": "phrases",
    "phrase": "phrases",
    "near": "phrases",
    "emoji": "phrases",
    "hashtag": "hashtags",
    "mention": "mentions",
    "cashtag": "cashtags",
}
# Many posts satisfy these operators by chance; matching decides later.
_LEFT_TO_CHANCE = frozenset({"sample", "followers_count", "following_count", "tweets_count", "listed_count"})


def recipe_for(node: Node, rng: random.Random) -> Recipe | None:
    """Return what a post must contain to match a rule; none if this module does not know."""
    recipe = Recipe()
    return recipe if _add(node, recipe, rng) else None


def _add(node: Node, recipe: Recipe, rng: random.Random) -> bool:
    match node:
        case Term():
            return _add_term(node, recipe)
        case And(parts):
            return all(_add(part, recipe, rng) for part in parts)
        case Or(parts):
            return _add(rng.choice(parts), recipe, rng)
    return True  # a negation: matching decides later


def _add_term(term: Term, recipe: Recipe) -> bool:
    key = term.operator, term.value
    if term.operator in _LISTS:
        getattr(recipe, _LISTS[term.operator]).append(term.value)
    elif term.operator == "from" and recipe.author in (None, term.value):
        recipe.author = term.value
    elif term.operator == "to" and recipe.to in (None, term.value):
        recipe.to = term.value
        recipe.kind = "reply"
    elif term.operator == "lang" and recipe.lang in (None, term.value):
        recipe.lang = term.value
    elif term.operator == "place_country":
        recipe.country = term.value
        recipe.kind = "place"
    elif key in _KINDS and recipe.kind in (None, _KINDS[key]):
        recipe.kind = _KINDS[key]
    else:
        return _add_entity(term, recipe)
    return True


def _add_entity(term: Term, recipe: Recipe) -> bool:
    match term.operator, term.value:
        case "has", "hashtags":
            recipe.hashtags = recipe.hashtags or ["murmuration"]
        case "has", "cashtags":
            recipe.cashtags = recipe.cashtags or ["SYN"]
        case "has", "mentions":
            recipe.mentions = recipe.mentions or ["synthetic_user_00001"]
        case "has", "links":
            recipe.links = recipe.links or ["https://lantern.example.com/"]
        case (("url" | "url_contains"), value):
            recipe.links.append(value if "://" in value else f"https://{value}")
        case _:
            return term.operator in _LEFT_TO_CHANCE
    return True
