"""Generated posts have the shapes, sizes and traits of recorded ones."""

import json
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.simulator import SimulatorSettings
from connector.simulator.posts.drafts import weight
from connector.simulator.posts.generator import KINDS, Generator
from connector.simulator.posts.long_texts import POST_WEIGHT
from connector.simulator.posts.recipes import Recipe
from connector.simulator.posts.rendering import (
    EXPANSIONS,
    MEDIA_FIELDS,
    PLACE_FIELDS,
    POLL_FIELDS,
    POST_FIELDS,
    USER_FIELDS,
    Selection,
    Spelling,
    escape_astral,
)
from connector.simulator.posts.samples import samples
from connector.simulator.posts.store import PostStore
from connector.simulator.snowflakes import Snowflakes, first_id, time_ms

EVERYTHING = Selection(
    post=frozenset(POST_FIELDS),
    expansions=frozenset(EXPANSIONS),
    user=frozenset(USER_FIELDS),
    media=frozenset(MEDIA_FIELDS),
    place=frozenset(PLACE_FIELDS),
    poll=frozenset(POLL_FIELDS),
)


@pytest.fixture(scope="module")
def posts():
    generator = Generator(SimulatorSettings())
    return [generator.post(time.time()) for _ in range(3000)]


def paths(value, at=""):
    """Each place in a payload, with the type of what stands there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{at}[]")
    else:
        kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
        yield at, kind


def shapes_of_samples():
    known = set()
    for kind, raw in samples().items():
        if kind.startswith("activity_"):
            continue  # another envelope
        payload = json.loads(raw)
        data = payload["data"] if isinstance(payload["data"], list) else [payload["data"]]
        for post in [*data, *payload.get("includes", {}).get("tweets", [])]:
            known.update(paths(post, "post"))
        for name in ("users", "media", "polls", "places"):
            for inner in payload.get("includes", {}).get(name, []):
                known.update(paths(inner, name))
        known.update(paths({"matching_rules": payload.get("matching_rules", [])}))
    return known


# What the reference documents and no sample happens to hold.
DOCUMENTED = {
    ("post.display_text_range[]", "number"),
    ("post.geo.coordinates.type", "str"),
    ("post.geo.coordinates.coordinates[]", "number"),
    ("post.entities.cashtags[].start", "number"),
    ("post.entities.cashtags[].end", "number"),
    ("post.entities.cashtags[].tag", "str"),
    ("users.verified_type", "str"),
}


@pytest.mark.slow
def test_every_generated_place_is_in_a_recorded_shape(posts):
    """No field, nesting or type that no sample or table of the reference has."""
    known = shapes_of_samples() | DOCUMENTED
    unknown = {}
    for post in posts:
        line = json.loads(Spelling().line(post, EVERYTHING, [{"id": "1", "tag": ""}]))
        places = set(paths(line["data"], "post"))
        for included in line["includes"].get("tweets", []):
            places.update(paths(included, "post"))
        for name in ("users", "media", "polls", "places"):
            for inner in line["includes"].get(name, []):
                places.update(paths(inner, name))
        for place in places - known:
            # Notes hold the same entities as posts do.
            if (place[0].replace("post.note_tweet", "post"), place[1]) not in known:
                unknown[place] = post.id

    assert unknown == {}


def test_all_kinds_of_posts_come_up(posts):
    """Replies, retweets, quotes, media, polls, places, notes, edits and plain ones."""
    seen = {
        "reply": 0, "retweet": 0, "quote": 0, "photo": 0, "video": 0, "gif": 0, "poll": 0, "place": 0, "note": 0,
        "edit": 0, "link": 0, "plain": 0,
    }  # fmt: skip
    for post in posts:
        kinds = {r["type"] for r in post.referenced()}
        media = {m["type"] for m in post.media}
        seen["reply"] += "replied_to" in kinds
        seen["retweet"] += "retweeted" in kinds
        seen["quote"] += "quoted" in kinds
        seen["photo"] += "photo" in media
        seen["video"] += "video" in media
        seen["gif"] += "animated_gif" in media
        seen["poll"] += bool(post.polls)
        seen["place"] += bool(post.places)
        seen["note"] += "note_tweet" in post.data
        seen["edit"] += len(post.data["edit_history_tweet_ids"]) > 1
        seen["link"] += "title" in json.dumps(post.data.get("entities", {}))
        seen["plain"] += not kinds and not media

    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 5


def test_sizes_are_realistic(posts):
    """All fields and expansions: mean around 4 KB; defaults: a few hundred bytes."""
    full = [len(Spelling().line(post, EVERYTHING, [])) for post in posts]
    small = [len(Spelling().line(post, Selection(), [])) for post in posts]

    assert 2500 < statistics.mean(full) < 5500
    assert 6000 < statistics.quantiles(full, n=100)[98] < 20_000
    assert 150 < statistics.mean(small) < 500


def test_offsets_are_code_points_of_the_text_as_delivered(posts):
    """Every entity stands where its offsets say, also after an emoji or an `&amp;`."""
    checked = 0
    for post in posts:
        for data in (post.data, *post.references):
            for text, entities in (
                (data["text"], data.get("entities", {})),
                (data.get("note_tweet", {}).get("text", ""), data.get("note_tweet", {}).get("entities", {})),
            ):
                for kind, items in entities.items():
                    for item in items:
                        shown = {
                            "hashtags": lambda e: f"#{e['tag']}",
                            "cashtags": lambda e: f"${e['tag']}",
                            "mentions": lambda e: f"@{e['username']}",
                            "urls": lambda e: e["url"],
                        }[kind](item)
                        assert text[item["start"] : item["end"]] == shown
                        checked += 1

    assert checked > 3000


def test_ids_are_unique_and_agree_with_created_at(posts):
    """Also those of posts that others refer to."""
    ids = [post.id for post in posts]
    references = {reference["id"] for post in posts for reference in post.references}

    assert len(set(ids)) == len(ids)
    assert not references & set(map(str, ids))
    for post in posts:
        for data in (post.data, *post.references):
            second = time_ms(int(data["id"])) // 1000
            assert data["created_at"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(second))


def test_long_texts_are_cut_as_recorded():
    """280 weighted characters, an ellipsis and a self link; the full text is the note."""
    for switch in ("recorded", "report"):
        generator = Generator(SimulatorSettings(long_text_cut=switch))
        cut = [
            p for p in (generator.post(time.time(), Recipe(kind="note")) for _ in range(40)) if "note_tweet" in p.data
        ]
        assert len(cut) > 20
        for post in cut:
            text, full = post.data["text"], post.data["note_tweet"]["text"]
            assert sum(map(weight, text)) <= POST_WEIGHT < sum(map(weight, full))
            if switch == "recorded":
                begin, link = text.split("… https://example.com/")
                assert full.startswith(begin)
                assert len(link) == 3
                assert post.data["entities"]["urls"][-1]["expanded_url"].endswith(f"/status/{post.id}")
            else:
                assert full.startswith(text)


def test_the_same_seed_gives_the_same_posts():
    """Texts, kinds and users are the seed's, whatever the time."""
    texts = [[Generator(SimulatorSettings(seed=seed)).post(1.7e9).data["text"] for _ in range(3)] for seed in (5, 5, 6)]

    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_languages_and_hashtags_can_be_chosen():
    """Shares of languages; a fair part of the posts carries the hashtags asked for."""
    generator = Generator(SimulatorSettings(languages={"de": 1}, hashtags=("oma",), hashtag_share=0.5))
    made = [generator.post(time.time()) for _ in range(400)]
    tagged = sum("#oma" in post.data["text"] for post in made)

    assert {post.data["lang"] for post in made} == {"de"}
    assert 100 < tagged < 300


@pytest.mark.slow
def test_posts_are_the_same_after_they_were_packed():
    """The store gives back what was put in."""
    generator = Generator(SimulatorSettings())
    store = PostStore(capacity=10_000, days=7)
    made = [generator.post(time.time()) for _ in range(2500)]
    before = [Spelling().line(post, EVERYTHING, []) for post in made]
    for post in made:
        store.add(post, time.time())
    after = [Spelling().line(store.get(post.id), EVERYTHING, []) for post in made]

    assert before == after


@pytest.mark.parametrize(
    ("snowflake", "when"),
    [
        (1212092628029698048, "2019-12-31T19:26:16.771Z"),
        (1541815603606036480, "2022-06-28T16:07:40.105Z"),
        (2080761390344937796, "2026-07-24T21:05:48.792Z"),
        (2116681624581046272, "2026-11-01T00:00:00.000Z"),
        (2116871613088530431, "2026-11-01T12:34:56.789Z"),
        (0, "2010-11-04T01:42:54.657Z"),
        (4194304, "2010-11-04T01:42:54.658Z"),
    ],
)
def test_ids_carry_the_recorded_times(snowflake, when):
    """The table of the reference."""
    from connector.simulator.clock import parse_time, rfc3339

    assert rfc3339(time_ms(snowflake) / 1000) == when
    assert first_id(round(parse_time(when) * 1000)) <= snowflake


@given(st.lists(st.integers(min_value=1_700_000_000_000, max_value=1_700_000_000_050), max_size=300))
def test_ids_are_never_given_twice(times):
    """In whatever order the times come."""
    ids = Snowflakes()
    taken = [ids.take(ms) for ms in times]

    assert len(set(taken)) == len(taken)
    assert [time_ms(snowflake) for snowflake in taken] == times


@given(st.text())
def test_escaping_keeps_the_meaning(text):
    """Only characters beyond the BMP are written otherwise, and JSON reads them back."""
    raw = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    escaped = escape_astral(raw)

    assert json.loads(escaped) == text
    assert all(ord(character) <= 0xFFFF for character in escaped.decode("utf-8", "surrogatepass"))


def test_samples_are_all_there():
    """41 kinds, each a JSON object with data."""
    assert len(samples()) == 41
    for raw in samples().values():
        assert "data" in json.loads(raw)
