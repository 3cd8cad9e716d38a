"""Lines of X to try: those of the recorded shapes, and made-up ones with any subset of what X may send."""

import functools
import json
from datetime import UTC

from hypothesis import strategies as st

from connector.records.post import MAX_ID
from connector.simulator.posts.rendering import escape_astral
from connector.simulator.posts.samples import samples


@functools.cache
def recorded():
    """Each post of the recorded shapes as the line of a stream: pages of REST have several."""
    found = {}
    for kind, payload in samples().items():
        page = json.loads(payload)
        data = page.get("data", page)
        posts = data if isinstance(data, list) else [data]
        for number, post in enumerate(posts):
            if "id" in post:
                line = {name: value for name, value in page.items() if name not in ("data", "meta")} | {"data": post}
                found[f"{kind}-{number}" if number else kind] = json.dumps(line, ensure_ascii=False).encode()
    return found


texts = st.text(max_size=8)
ids = st.integers(1, MAX_ID).map(str)
few_ids = st.sampled_from(["1", "22", "333", "4444"])
longs = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(timezones=st.just(UTC)).map(lambda t: t.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def objects(**members):
    return st.fixed_dictionaries({}, optional=members)


def needing(needed, **members):
    return st.fixed_dictionaries(needed, optional=members)


def some(strategy):
    return st.lists(strategy, max_size=2)


span = {"start": longs, "end": longs}
entities = objects(
    hashtags=some(needing({"tag": texts}, **span)),
    cashtags=some(needing({"tag": texts}, **span)),
    mentions=some(needing({"username": texts}, id=ids, **span)),
    urls=some(
        needing({"url": texts}, expanded_url=texts, display_url=texts, title=texts, status=longs, images=some(longs))
    ),
    annotations=some(objects(probability=doubles)),
)
users = needing(
    {"id": few_ids},
    username=texts,
    name=texts,
    created_at=times,
    verified=st.booleans(),
    protected=st.booleans(),
    public_metrics=objects(followers_count=longs, tweet_count=longs, media_count=longs),
)
media = needing(
    {"media_key": few_ids},
    type=texts,
    url=texts,
    width=longs,
    public_metrics=objects(view_count=longs),
    variants=some(needing({"url": texts}, bit_rate=longs, content_type=texts)),
)
places = needing({"id": few_ids}, full_name=texts, geo=objects(bbox=some(doubles), type=texts), place_type=texts)
polls = needing(
    {"id": few_ids},
    options=some(objects(position=longs, label=texts, votes=longs)),
    end_datetime=times,
    voting_status=texts,
)


def posts(post_ids):
    """The object `data`, or one of `includes.tweets`."""
    return needing(
        {"id": post_ids},
        text=texts,
        created_at=times,
        author_id=few_ids,
        lang=texts,
        conversation_id=ids,
        in_reply_to_user_id=ids,
        entities=entities,
        note_tweet=objects(text=texts, entities=entities),
        attachments=objects(media_keys=some(few_ids), poll_ids=some(few_ids)),
        geo=objects(
            place_id=few_ids,
            coordinates=st.builds(lambda a, b: {"type": "Point", "coordinates": [a, b]}, doubles, doubles),
        ),
        public_metrics=objects(retweet_count=longs, like_count=longs, impression_count=longs),
        edit_history_tweet_ids=some(ids),
        edit_controls=objects(editable_until=times, edits_remaining=longs, is_edit_eligible=st.booleans()),
        possibly_sensitive=st.booleans(),
        reply_settings=texts,
        source=texts,
        withheld=objects(copyright=st.booleans(), country_codes=some(texts), scope=texts),
        referenced_tweets=some(
            st.builds(
                lambda kind, post_id: {"type": kind, "id": post_id},
                st.sampled_from(["retweeted", "quoted", "replied_to"]),
                few_ids,
            )
        ),
        context_annotations=some(objects(domain=objects(id=texts))),
    )


lines = needing(
    {"data": posts(ids)},
    includes=objects(
        users=some(users), tweets=some(posts(few_ids)), media=some(media), places=some(places), polls=some(polls)
    ),
    matching_rules=some(needing({"id": ids}, tag=texts, embedding_similarity=doubles)),
)
"""Decoded lines in which each value has the type that X gives it."""


def as_line(decoded, *, escaped=False):
    """The bytes of *decoded*."""
    text = json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode()
    return escape_astral(text) if escaped else text


def paths(value, at=()):
    """The path of each value inside *value*."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*at, name)
        yield from paths(inner, (*at, name))
