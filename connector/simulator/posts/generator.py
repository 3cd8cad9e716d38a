"""
Synthetic posts of every kind, decided by a seed.

`Generator` makes each kind of a draft (`drafts`), of media, polls and places (`parts`), and of the fields of X.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.drafts import Draft, Drafter
from connector.simulator.posts.lexicon import WORDS
from connector.simulator.posts.long_texts import cut_long_text
from connector.simulator.posts.parts import Parts
from connector.simulator.posts.people import Links, People
from connector.simulator.posts.post import Object, Post
from connector.simulator.posts.recipes import Recipe
from connector.simulator.rules.operators import LANGUAGE_CODES
from connector.simulator.snowflakes import Snowflakes

if TYPE_CHECKING:
    from collections.abc import Callable

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
"""The kinds of posts, with their weights."""

RETWEET_CODE_POINTS = 140
REMEMBERED_POSTS = 64


class Generator:
    """
    Makes posts; the same seed and the same calls give the same posts.

    The seed decides the text of a post.  The id is a snowflake of the time that the caller gives.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._ids = Snowflakes()
        # Referenced posts are older than the post; ids of their own place do not collide with those of emitted posts.
        self._past_ids = Snowflakes(place=11 << 5 | 6)
        self._kinds = list(KINDS), list(KINDS.values())
        self._recent: deque[Post] = deque(maxlen=REMEMBERED_POSTS)
        self._links = Links(self._random)
        self._people = People(self._random, self._links, count=settings.users)
        self._drafter = Drafter(settings, self._random, people=self._people, links=self._links)
        self._parts = Parts(self._random, links=self._links, ids=self._past_ids)
        self.users = self._people.users

    def new_id(self, at: float) -> int:
        """Return an id for a post that another module makes."""
        return self._ids.take(int(at * 1000))

    def user(self, name_or_id: str) -> Object:
        """Return a user, who joins if there is none of that name."""
        return self._people.user(name_or_id)

    def post(self, at: float, recipe: Recipe | None = None) -> Post:
        """Return a new post, created at *at*, by a recipe."""
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
        draft, lang = self._drafter.draft(recipe)
        return self._finish(at, draft, lang, recipe)

    def _link(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._drafter.draft(recipe)
        host = self._random.choice(WORDS["en"][:29])
        self._drafter.add_link(draft, f"https://www.{host}.example.com/t/{self._links.code(24)}")
        return self._finish(at, draft, lang, recipe)

    def _photo(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["photo"] * self._random.randint(1, 4))

    def _video(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["video"])

    def _gif(self, at: float, recipe: Recipe) -> Post:
        return self._with_media(at, recipe, ["animated_gif"])

    def _with_media(self, at: float, recipe: Recipe, types: list[str]) -> Post:
        draft, lang = self._drafter.draft(recipe)
        media = tuple(self._parts.medium(at, kind) for kind in types)
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
        draft, lang = self._drafter.draft(recipe)
        poll = self._parts.poll(at)
        keys = {"poll_ids": [poll["id"]]}
        return self._finish(at, draft, lang, recipe, attachments=keys, polls=(poll,))

    def _place(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._drafter.draft(recipe)
        place, geo = self._parts.place(recipe.country)
        return self._finish(at, draft, lang, recipe, geo=geo, places=(place,))

    def _note(self, at: float, recipe: Recipe) -> Post:
        draft, lang = self._drafter.draft(recipe, sentences=self._random.randint(6, 24))
        author = self._author(recipe)
        post = self._finish(at, draft, lang, recipe, author=author)
        return cut_long_text(post, self._links, recorded=self._settings.long_text_cut == "recorded")

    def _reply(self, at: float, recipe: Recipe) -> Post:
        parent = self._original(self._parts.before(at, 600) / 1000, author=recipe.to)
        author = self.users[parent["author_id"]]
        draft = Draft()
        self._drafter.mention(draft, author)
        draft, lang = self._drafter.draft(recipe, draft)
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
        quoted = self._original(self._parts.before(at, 3600) / 1000)
        name = self.users[quoted["author_id"]]["username"]
        draft, lang = self._drafter.draft(recipe)
        self._drafter.add_link(draft, f"https://example.com/{name}/status/{quoted['id']}", card=False)
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
        original = self._original(self._parts.before(at, 7200) / 1000, recipe=inner)
        author = self.users[original["author_id"]]
        draft = Draft()
        draft.add("RT")
        self._drafter.mention(draft, author)
        prefix = draft.text + ": "
        text = prefix + original["text"]
        if len(text) > RETWEET_CODE_POINTS:
            text = text[: RETWEET_CODE_POINTS - 1] + "…"
        # Entities move with the text; entities in the part that is cut off are left out.
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

    def _original(self, at: float, *, author: str | None = None, recipe: Recipe | None = None) -> Object:
        """Return a post for another post to refer to; the returned post is never emitted itself."""
        recipe = recipe or Recipe()
        recipe.author = author
        draft, lang = self._drafter.draft(recipe)
        post = self._finish(at, draft, lang, recipe, ids=self._past_ids)
        metrics = post.data["public_metrics"]
        metrics.update(retweet_count=1, like_count=self._random.randrange(50))
        return post.data

    def _author(self, recipe: Recipe) -> Object:
        return self._people.user(recipe.author) if recipe.author else self._people.someone()

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
        annotations = self._parts.annotations()
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


_CASED = {"zh-cn": "zh-CN", "zh-tw": "zh-TW", "hi-latn": "hi-Latn"}


def _spelled(lang: str) -> str:
    """Return a language code as X writes it; an unknown language is `und`."""
    folded = lang.lower()
    return _CASED.get(folded, folded) if folded in LANGUAGE_CODES else "und"
