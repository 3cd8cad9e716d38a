"""
What do people post?  Synthetic posts of every kind, decided by a seed.

A `Draft` grows a text and keeps the offsets of its entities; `Generator` turns
drafts into posts with everything X would hang on them.
"""

from __future__ import annotations

import random
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.drafts import Draft, weight
from connector.simulator.posts.lexicon import DOMAINS, EMOJI, UNSPACED, WORDS
from connector.simulator.posts.people import Links, People
from connector.simulator.posts.post import Object, Post
from connector.simulator.posts.recipes import Recipe
from connector.simulator.rules.grammar import LANGUAGE_CODES
from connector.simulator.snowflakes import Snowflakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.simulator.settings import SimulatorSettings

KINDS: dict[str, float] = {
    "plain": 30,
    "reply": 18,
    "retweet": 20,
    "quote": 7,
    "photo": 9,
    "link": 7,
    "video": 3,
    "gif": 1,
    "poll": 1,
    "place": 1.5,
    "note": 1.5,
    "edit": 1,
}
"""Kinds of posts and their shares."""

RETWEET_CODE_POINTS = 140
POST_WEIGHT = 280
REPORTED_CUT = 270
REMEMBERED_POSTS = 64

_ENTITY = re.compile(
    r"(?P<url>https?://\S+)|[#](?P<tag>\w*[^\W\d]\w*)|@(?P<user>\w+)"
    r"|\$(?P<cash>[A-Za-z]{1,6})\b"
)


class Generator:
    """
    Posts without end; the same seed and the same calls give the same posts.

    Ids are snowflakes of the time given, so the text is a matter of the seed
    and the id a matter of the clock.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._ids = Snowflakes()
        # What posts refer to lies in the past, where posts may have been.
        self._past_ids = Snowflakes(place=11 << 5 | 6)
        self._kinds = list(KINDS), list(KINDS.values())
        self._languages = list(settings.languages), list(settings.languages.values())
        self._recent: deque[Post] = deque(maxlen=REMEMBERED_POSTS)
        self._links = Links(self._random)
        self._people = People(self._random, self._links, count=settings.users)
        self.users = self._people.users

    def new_id(self, at: float) -> int:
        """Return an id for a post that was made elsewhere."""
        return self._ids.take(int(at * 1000))

    def post(self, at: float, recipe: Recipe | None = None) -> Post:
        """Return a new post created at a time, with what a recipe asks for."""
        recipe = recipe or Recipe()
        kind = recipe.kind or self._random.choices(*self._kinds)[0]
        if kind == "edit" and not self._recent:
            kind = "plain"
        if recipe.text is not None and recipe.kind is None:
            kind = "plain"
        build: Callable[[float, Recipe], Post] = getattr(self, f"_{kind}")
        post = build(at, recipe)
        if kind in ("plain", "photo", "link"):
            self._recent.append(post)
        return post

    def _plain(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._draft(recipe)
        return self._finish(at, draft, lang, recipe)

    def _link(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._draft(recipe)
        host = self._random.choice(WORDS["en"][:29])
        self._add_link(draft, f"https://www.{host}.example.com/t/{self._links.code(24)}")
        return self._finish(at, draft, lang, recipe)

    def _photo(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["photo"] * self._random.randint(1, 4))

    def _video(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["video"])

    def _gif(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["animated_gif"])

    def _with_media(self, at: float, recipe: Recipe, types: list[str]) -> Post:
        draft, lang = self._draft(recipe)
        media = tuple(self._medium(at, kind) for kind in types)
        author = self._author(recipe)
        link = self._links.short()
        code = link.rpartition("/")[2]
        for medium in media:
            url = {
                "url": link,
                "expanded_url": f"https://example.com/{author['username']}/status/"
                f"{self._random.randrange(1 << 60)}/photo/1",
                "display_url": f"pic.example.com/{code}",
                "media_key": medium["media_key"],
            }
            if medium is media[0]:
                draft.entity("urls", link, **url)
            else:
                first = draft.entities["urls"][-1]
                place = {"start": first["start"], "end": first["end"]}
                draft.entities["urls"].append({**place, **url})
        keys = {"media_keys": [medium["media_key"] for medium in media]}
        return self._finish(at, draft, lang, recipe, author=author, attachments=keys, media=media)

    def _poll(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._draft(recipe)
        rng = self._random
        poll = {
            "id": str(self._past_ids.take(self._before(at, 0.1))),
            "voting_status": "open",
            "duration_minutes": 1440,
            "options": [
                {"position": n, "label": f"“{rng.choice(WORDS['en'])}”", "votes": 0}
                for n in range(1, rng.randint(3, 5))
            ],
            "end_datetime": rfc3339_second(at + 86400),
        }
        keys = {"poll_ids": [poll["id"]]}
        return self._finish(at, draft, lang, recipe, attachments=keys, polls=(poll,))

    def _place(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._draft(recipe)
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
            "country_code": (recipe.country or "ZZ").upper(),
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
        return self._finish(at, draft, lang, recipe, geo=geo, places=(place,))

    def _note(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._draft(recipe, sentences=self._random.randint(6, 24))
        author = self._author(recipe)
        post = self._finish(at, draft, lang, recipe, author=author)
        return self._cut_long_text(post)

    def _reply(self, at: float, recipe: Recipe) -> Post:
        parent = self._original(self._before(at, 600) / 1000, author=recipe.to)
        author = self.users[parent["author_id"]]
        draft = Draft()
        self._mention(draft, author)
        draft, lang = self._draft(recipe, draft)
        return self._finish(
            at,
            draft,
            lang,
            recipe,
            references=(parent,),
            conversation_id=parent["conversation_id"],
            in_reply_to_user_id=author["id"],
            referenced_tweets=[{"type": "replied_to", "id": parent["id"]}],
        )

    def _quote(self, at: float, recipe: Recipe) -> Post:
        quoted = self._original(self._before(at, 3600) / 1000)
        name = self.users[quoted["author_id"]]["username"]
        draft, lang = self._draft(recipe)
        self._add_link(draft, f"https://example.com/{name}/status/{quoted['id']}", card=False)
        return self._finish(
            at,
            draft,
            lang,
            recipe,
            references=(quoted,),
            referenced_tweets=[{"type": "quoted", "id": quoted["id"]}],
        )

    def _retweet(self, at: float, recipe: Recipe) -> Post:
        inner = Recipe(
            phrases=recipe.phrases,
            hashtags=recipe.hashtags,
            mentions=recipe.mentions,
            cashtags=recipe.cashtags,
            links=recipe.links,
            lang=recipe.lang,
            text=recipe.text,
        )
        original = self._original(self._before(at, 7200) / 1000, recipe=inner)
        author = self.users[original["author_id"]]
        draft = Draft()
        draft.add("RT")
        self._mention(draft, author)
        prefix = draft.text + ": "
        text = prefix + original["text"]
        if len(text) > RETWEET_CODE_POINTS:
            text = text[: RETWEET_CODE_POINTS - 1] + "…"
        # Entities move with the text; those in the cut part go.
        for kind, entities in original.get("entities", {}).items():
            for entity in entities:
                moved = {
                    **entity,
                    "start": entity["start"] + len(prefix),
                    "end": entity["end"] + len(prefix),
                }
                if moved["end"] < RETWEET_CODE_POINTS:
                    draft.entities.setdefault(kind, []).append(moved)
        draft.parts = [text]
        return self._finish(
            at,
            draft,
            original["lang"],
            recipe,
            references=(original,),
            referenced_tweets=[{"type": "retweeted", "id": original["id"]}],
        )

    def _edit(self, at: float, recipe: Recipe) -> Post:
        before = self._random.choice(self._recent)
        if recipe != Recipe():
            return self._plain(at, recipe)
        post_id = self._ids.take(int(at * 1000))
        history = [*before.data["edit_history_tweet_ids"], str(post_id)]
        controls = before.data["edit_controls"]
        if controls["edits_remaining"] == 0:
            return self._plain(at, recipe)
        text = before.data["text"] + " !"
        data = {
            **before.data,
            "id": str(post_id),
            "created_at": rfc3339_second(int(at)),
            "text": text,
            "display_text_range": [0, len(text)],
            "edit_history_tweet_ids": history,
            "edit_controls": {
                **controls,
                "is_edit_eligible": True,
                "edits_remaining": controls["edits_remaining"] - 1,
            },
        }
        post = Post(
            id=post_id,
            data=data,
            media=before.media,
            users=self.users,
        )
        self._recent.remove(before)
        self._recent.append(post)
        return post

    # Parts of posts.

    def _before(self, at: float, most: float) -> int:
        """Return a time in milliseconds, up to `most` seconds before."""
        return int((at - self._random.uniform(0.001, most)) * 1000)

    def _original(self, at: float, *, author: str | None = None, recipe: Recipe | None = None) -> Object:
        """Return a post that another one refers to; it was never emitted itself."""
        recipe = recipe or Recipe()
        recipe.author = author
        draft, lang = self._draft(recipe)
        post = self._finish(at, draft, lang, recipe, ids=self._past_ids)
        metrics = post.data["public_metrics"]
        metrics.update(retweet_count=1, like_count=self._random.randrange(50))
        return post.data

    def _author(self, recipe: Recipe) -> Object:
        return self._people.user(recipe.author) if recipe.author else self._people.someone()

    def _draft(self, recipe: Recipe, draft: Draft | None = None, *, sentences: int = 0) -> tuple[Draft, str]:
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
            self._mention(draft, self._people.user(name))
        for link in recipe.links:
            self._add_link(draft, link)
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
        """Take a text as it is; what looks like an entity becomes one."""
        at = 0
        for match in _ENTITY.finditer(text):
            if match.start() > at:
                draft.add(text[at : match.start()].strip(), glue=not draft.parts)
            if match["url"]:
                self._add_link(draft, match["url"])
            elif match["tag"]:
                draft.entity("hashtags", match[0], tag=match["tag"])
            elif match["cash"]:
                draft.entity("cashtags", match[0], tag=match["cash"])
            else:
                self._mention(draft, self._people.user(match["user"]))
            at = match.end()
        if rest := text[at:].strip():
            draft.add(rest)

    def _mention(self, draft: Draft, user: Object) -> None:
        draft.entity("mentions", f"@{user['username']}", username=user["username"], id=user["id"])

    def _add_link(self, draft: Draft, target: str, *, card: bool = True) -> None:
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

    def _medium(self, at: float, kind: str) -> Object:
        rng = self._random
        prefix = {"photo": "3", "video": "7", "animated_gif": "16"}[kind]
        key = f"{prefix}_{self._past_ids.take(self._before(at, 5))}"
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

    def _annotations(self) -> list[Object]:
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

    def _finish(  # noqa: PLR0913 - the parts a post can have
        self,
        at: float,
        draft: Draft,
        lang: str,
        recipe: Recipe,
        *,
        author: Object | None = None,
        references: tuple[Object, ...] = (),
        media: tuple[Object, ...] = (),
        polls: tuple[Object, ...] = (),
        places: tuple[Object, ...] = (),
        ids: Snowflakes | None = None,
        **fields: Any,
    ) -> Post:
        post_id = (ids or self._ids).take(int(at * 1000))
        text = draft.text
        annotations = self._annotations()
        data: Object = {
            "author_id": (author or self._author(recipe))["id"],
            "conversation_id": str(post_id),
            "created_at": rfc3339_second(int(at)),
            "display_text_range": [0, len(text)],
            "edit_controls": {
                "edits_remaining": 5,
                "is_edit_eligible": not fields.get("referenced_tweets"),
                "editable_until": rfc3339_second(int(at) + self._settings.edit_window_min * 60),
            },
            "edit_history_tweet_ids": [str(post_id)],
            "id": str(post_id),
            "lang": _spelled(lang),
            "possibly_sensitive": False,
            "public_metrics": {
                "retweet_count": 0,
                "reply_count": 0,
                "like_count": 0,
                "quote_count": 0,
                "bookmark_count": 0,
                "impression_count": 0,
            },
            "reply_settings": "everyone",
            "text": text,
            **fields,
        }
        if draft.entities:
            data["entities"] = draft.entities
        if annotations:
            data["context_annotations"] = annotations
        return Post(
            id=post_id,
            data=data,
            references=references,
            media=media,
            polls=polls,
            places=places,
            users=self.users,
        )

    def _cut_long_text(self, post: Post) -> Post:
        """Move a long text to `note_tweet` and leave its beginning and a self link."""
        full = post.data["text"]
        if sum(map(weight, full)) <= POST_WEIGHT:
            return post
        note: Object = {"text": full}
        entities = post.data.pop("entities", {})
        if entities:
            note["entities"] = entities
        link = self._links.short()
        recorded = self._settings.long_text_cut == "recorded"
        room = POST_WEIGHT - len(link) - 3 if recorded else REPORTED_CUT
        kept = 0
        for character in full:
            room -= weight(character)
            if room < 0:
                break
            kept += 1
        text = full[:kept]
        inside = {kind: [entity for entity in items if entity["end"] <= kept] for kind, items in entities.items()}
        if recorded:
            start = len(text) + 2
            text = f"{text}… {link}"
            self_link = self._links.target(link, f"https://twitter.com/i/web/status/{post.id}")
            place = {"start": start, "end": len(text)}
            inside.setdefault("urls", []).append({**place, **self_link})
        post.data["note_tweet"] = note
        post.data["text"] = text
        post.data["entities"] = {kind: items for kind, items in inside.items() if items}
        post.data["display_text_range"] = [0, len(text)]
        return post


_CASED = {"zh-cn": "zh-CN", "zh-tw": "zh-TW", "hi-latn": "hi-Latn"}


def _spelled(lang: str) -> str:
    """Return a language code as X writes it; unknown ones are `und`."""
    folded = lang.lower()
    return _CASED.get(folded, folded) if folded in LANGUAGE_CODES else "und"
