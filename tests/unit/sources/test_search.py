import email.utils
import json
import time
import urllib.parse
from dataclasses import replace

import pytest

from connector.errors import (
    ConnectionLost,
    NotAuthorized,
    NotFound,
    OutOfCredit,
    RateLimited,
    ServiceUnavailable,
    TokenRejected,
)
from connector.simulator import ManualClock, SimulatorSettings, SimulatorThread
from connector.simulator.posts.post import facts
from connector.simulator.rules import grammar
from connector.simulator.rules.matching import matches
from connector.sources.archive.search import BARREN_PAGES, SEARCH_PATH, RecentSearch
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken
from connector.sources.rest.rules import Rule, held_rules
from connector.sources.source import StreamSource
from connector.sources.stream.streams import STREAMS

from .scripted import CUT, ScriptedServer, answer, stream
from .test_with_simulator import Reader, eventually

RULES = (
    ("#python", "py"),
    ("#kafka OR #python", "both"),
    ("lang:en (#kafka OR #faust) -is:retweet", None),
    ("has:media #starling", "pictures"),
)

FIELDS = {
    "tweet.fields": "attachments,author_id,context_annotations,created_at,entities,geo,in_reply_to_user_id,lang,"
    "note_tweet,public_metrics,referenced_tweets",
    "user.fields": "created_at,public_metrics,username",
    "media.fields": "type,url,width",
    "place.fields": "country,full_name",
    "poll.fields": "options,voting_status",
}
EXPANSIONS = (
    "attachments.media_keys,attachments.poll_ids,author_id,entities.mentions.username,geo.place_id,in_reply_to_user_id,"
    "referenced_tweets.id,referenced_tweets.id.author_id"
)


class World:
    """A simulator with posts of some seconds, and what of them search should find."""

    def __init__(self, simulator, clock):
        self.simulator, self.clock = simulator, clock
        self.api = Api(simulator.url, BearerToken(simulator.settings.token))
        self.rules = held_rules(self.api)

    def post(self, count, *, step=0.25):
        """Post *count* posts that match, ten at a time."""
        for _ in range(count // 10):
            self.simulator.emit(10)
            self.clock.advance(step)

    def ids(self):
        return self.simulator.call(lambda: list(self.simulator.simulator.store.ids(0, 1 << 63)))

    def truth(self, low, high, rules=None):
        """Return id and ids of the matching rules of what X's search has, newest first."""
        nodes = [(rule.id, grammar.parse(rule.value, product="search")) for rule in rules or self.rules]

        def look():
            for post in self.simulator.simulator.store.newest_first(low, high):
                seen = facts(post, product="search")
                if ids := [rule_id for rule_id, node in nodes if matches(node, seen)]:
                    yield post.id, ids

        return self.simulator.call(lambda: list(look()))

    def search(self, low, high, *, rules=None, parameters=FIELDS, max_characters=512):
        return RecentSearch(
            self.api, rules or self.rules, parameters, low_id=low, high_id=high, max_characters=max_characters
        )


@pytest.fixture
def world(request):
    settings = {"rules": RULES, "users": 50, "search_freshness_s": 0, "search_retweets": True}
    now = ManualClock(time=time.time())
    with SimulatorThread(SimulatorSettings(**settings | getattr(request, "param", {})), clock=now) as simulator:
        world = World(simulator, now)
        yield world
        world.api.close()


def drain(search):
    """All pieces up to the last; and None after it."""
    pieces = []
    while (found := search.next()) is not None:
        pieces.append(found)
        assert len(pieces) < 1000
    assert search.next() is None
    return pieces


def lines_of(pieces):
    return [json.loads(line) for found in pieces for line in found.lines]


def outline(pieces):
    """Id and ids of the matching rules."""
    return [(int(line["data"]["id"]), [rule["id"] for rule in line["matching_rules"]]) for line in lines_of(pieces)]


# -- against the simulator's store


@pytest.mark.slow
def test_all_that_search_has_comes_once_with_all_rules(world):
    """Rules that overlap, pages that overlap; newest first, and no post beyond the ends of the gap."""
    world.post(700)
    ids = world.ids()
    low, high = ids[30], ids[-30]
    expected = world.truth(low, high)
    assert len(expected) > 300
    assert sum(len(rules) > 1 for _, rules in expected) > 100

    search = world.search(low, high)
    pieces = drain(search)

    assert expected == outline(pieces)
    assert {} == search.lost
    assert low == pieces[-1].down_to_id
    assert 100 >= max(len(found.lines) for found in pieces)
    tags = {rule.id: rule.tag for rule in world.rules}
    assert all(tags[rule["id"]] == rule["tag"] for line in lines_of(pieces) for rule in line["matching_rules"])


def test_the_first_id_is_inside_the_last_outside(world):
    """X's bounds are both exclusive, those of a gap are not."""
    world.post(30)
    (newest, _), *_, (oldest, _) = world.truth(0, 1 << 62)

    assert world.truth(oldest, newest) == outline(drain(world.search(oldest, newest)))
    assert [oldest] == [post_id for post_id, _ in outline(drain(world.search(oldest, oldest + 1)))]
    assert [] == drain(world.search(oldest, oldest))


@pytest.mark.slow
def test_each_piece_says_how_far_it_goes(world):
    """A search that begins where a piece ended finds the rest, whichever piece that was."""
    world.post(400)
    low, high = world.ids()[5], world.ids()[-5]
    expected = world.truth(low, high)

    pieces = drain(world.search(low, high))

    assert len(pieces) > 3
    before = high
    for number, found in enumerate(pieces):
        assert all(found.down_to_id <= post_id < before for post_id, _ in outline([found]))
        before = found.down_to_id
        rest = drain(world.search(low, found.down_to_id))
        assert expected == outline(pieces[: number + 1]) + outline(rest)


def test_what_x_bills_is_told(world):
    """Each id that came, once for each rule that found it; and how often X was asked."""
    world.post(300)
    low, high = world.ids()[0], world.ids()[-1]
    expected = [post_id for post_id, rules in world.truth(low, high) for _ in rules]

    pieces = drain(world.search(low, high))

    assert sorted(expected) == sorted(post_id for found in pieces for post_id in found.fetched)
    # the simulator bills the same, once a day
    assert len(set(expected)) == world.simulator.call(lambda: world.simulator.simulator.meter.reads)
    per_rule = [sum(rule.id in rules for _, rules in world.truth(low, high)) for rule in world.rules]
    assert sum(max(-(-count // 100), 1) for count in per_rule) == sum(found.requests for found in pieces)


def test_a_long_rule_is_asked_for_in_parts(world):
    """And counts as one rule: its parts find a post together."""
    world.post(200)
    low, high = world.ids()[0], world.ids()[-1]
    long = Rule(value="#python OR #kafka OR #faust OR #starling OR #meadow", tag="long", id="77")
    expected = world.truth(low, high, [long, *world.rules])

    assert expected == outline(drain(world.search(low, high, rules=[long, *world.rules], max_characters=45)))


@pytest.mark.slow
def test_what_the_stream_delivered_looks_the_same_from_search(world):
    """Post, includes, matching rules, for every kind of post; whatever the expansions."""
    for expansions in (EXPANSIONS, "author_id", "entities.mentions.username", "referenced_tweets.id", None):
        parameters = FIELDS | ({"expansions": expansions} if expansions else {})
        source = StreamSource(
            connector="posts",
            stream=STREAMS["filtered"],
            partition={"stream": "filtered"},
            url=world.simulator.url,
            credentials=BearerToken(world.simulator.settings.token),
            parameters=parameters,
            wanted={},
            emit=lambda _: None,
        )
        with Reader(source) as reader:
            assert reader.connected.wait(5)
            world.simulator.emit(250)
            eventually(lambda: len(reader.lines) >= 200)
            time.sleep(0.1)
            streamed = {line["data"]["id"]: line for line in map(json.loads, reader.lines)}
        world.clock.advance(1)
        low = min(map(int, streamed))

        found = lines_of(drain(world.search(low, max(map(int, streamed)) + 1, parameters=parameters)))

        kinds = {reference["type"] for line in found for reference in line["data"].get("referenced_tweets", ())}
        assert {"retweeted", "quoted", "replied_to"} <= kinds
        assert (expansions is None) == all("includes" not in line for line in found)
        same = 0
        for line in found:
            live = streamed[line["data"]["id"]]
            if any(reference["type"] == "quoted" for reference in line["data"].get("referenced_tweets", ())):
                # search does not look into quoted posts, so it may know fewer rules
                live = live | {"matching_rules": [r for r in live["matching_rules"] if r in line["matching_rules"]]}
            assert _sorted(live) == _sorted(line)
            same += 1
        assert same > 150


def _sorted(line):
    return line | {"matching_rules": sorted(line["matching_rules"], key=lambda rule: rule["id"])}


def test_rules_that_search_cannot_have_do_not_stop_the_others(world):
    """By their grammar, or because X refuses the query, in its words; what another rule finds comes anyway."""
    world.post(50)
    low, high = world.ids()[0], world.ids()[-1]
    sampled = Rule(value="#python sample:50", tag="", id="1")
    refused = Rule(value="filter:x #python", tag="", id="2")

    search = world.search(low, high, rules=[sampled, *world.rules, refused])
    pieces = drain(search)

    assert world.truth(low, high) == outline(pieces)
    assert {sampled.value, refused.value} == search.lost.keys()
    assert "sample:" in search.lost[sampled.value]
    assert "Reference to invalid operator 'filter'" in search.lost[refused.value]


def test_without_a_rule_that_search_has_there_is_an_end(world):
    """One piece, without a line, that reaches down to the end."""
    search = world.search(5, 10, rules=[Rule(value="sample:1 cat", tag="", id="1")])

    (found,) = drain(search)

    assert ((), 5, (), 0) == (found.lines, found.down_to_id, found.fetched, found.requests)
    assert 1 == len(search.lost)


# -- limits


@pytest.mark.parametrize("world", [{"rate_limits": {"search_recent": 3}}], indirect=True)
def test_a_used_up_limit_is_not_asked_again(world):
    """X says with its last answer that it was the last one; when the window is over it goes on, with nothing lost."""
    world.post(500)
    low, high = world.ids()[0], world.ids()[-1]
    search = world.search(low, high)
    windows = world.simulator.simulator.windows
    used, pieces = 0, []

    while pieces[-1:] == [] or pieces[-1].down_to_id > low:
        try:
            pieces.append(search.next())
        except RateLimited:
            used += world.simulator.call(lambda: windows._windows["search_recent"].used)
            with pytest.raises(RateLimited) as caught:
                search.next()
            assert caught.value.status is None  # it is ours, X was not asked
            assert abs(caught.value.reset_at - time.time() - 900) < 60
            world.simulator.call(windows.clear)
            world.api._quotas.clear()  # the window is over

    assert used >= 6
    assert used % 3 == 0
    assert world.truth(low, high) == outline(pieces)
    used += world.simulator.call(lambda: windows._windows["search_recent"].used)
    assert used == sum(found.requests for found in pieces)


def limited(status, remaining, body, *, secs):
    """An answer of a host whose clock is an hour ahead; the window ends in *secs*."""
    now = int(time.time()) + 3600
    headers = {
        "Date": email.utils.formatdate(now, usegmt=True),
        "x-rate-limit-limit": 450,
        "x-rate-limit-remaining": remaining,
        "x-rate-limit-reset": now + secs,
    }
    return answer(status, body, headers)


EMPTY = {"meta": {"result_count": 0}}
POST_429 = {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}


@pytest.mark.parametrize(("status", "body"), [(429, POST_429), (200, {"meta": {"next_token": "t"}})])
def test_the_window_ends_by_the_clock_of_x(status, body):
    """Ours may be an hour behind."""

    def reply(connection, request, server):
        return limited(status, 0, body, secs=60)(connection, request, server)

    with ScriptedServer([reply, answer(200, EMPTY)]) as server, Api(server.url, BearerToken("secret")) as api:
        search = RecentSearch(api, [Rule(value="cat", tag="", id="1")], {}, low_id=1, high_id=9, max_characters=512)
        for _ in range(2):
            with pytest.raises(RateLimited) as caught:
                search.next()
        assert 1 == len(server.requests)
        assert abs(caught.value.reset_at - time.time() - 3660) < 30
        for path, quota in api._quotas.items():
            api._quotas[path] = replace(quota, ends=quota.ends - 60)  # a minute has gone by
        found = search.next()

        assert (1, 2) == (found.down_to_id, len(server.requests))


# -- what other answers bring


def page(*ids, more=None, **fields):
    body = {"data": [{"id": str(post_id), "text": f"post {post_id}"} for post_id in ids]} if ids else {}
    return body | {"meta": {"result_count": len(ids)} | ({"next_token": more} if more else {})} | fields


class Script:
    """What X answers to each query, page by page: `Script(cat=[page(5, 4, more="a"), page(3)])`; ids 1 to 9."""

    def __init__(self, expansions=None, low=1, high=10, **queries):
        self.queries = {name: list(pages) for name, pages in queries.items()}
        self.asked = []
        self.parameters = {"expansions": expansions} if expansions else {}
        self.low, self.high = low, high
        self.rules = [Rule(value=name, tag=f"tag {name}", id=str(n)) for n, name in enumerate(queries, 1)]

    def __enter__(self):
        self._server = ScriptedServer([self._step]).__enter__()
        self._api = Api(self._server.url, BearerToken("secret"))
        self.search = RecentSearch(
            self._api, self.rules, self.parameters, low_id=self.low, high_id=self.high, max_characters=512
        )
        return self

    def __exit__(self, *exc_info):
        self._api.close()
        self._server.__exit__(*exc_info)

    def _step(self, connection, request, server):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.path).query))
        self.asked.append(asked)
        pages = self.queries[asked["query"]]
        step = pages.pop(0) if len(pages) > 1 else pages[0]
        return (step if callable(step) else answer(200, step))(connection, request, server)

    def drain(self):
        return drain(self.search)


def ids_of(pieces):
    return [post_id for post_id, _ in outline(pieces)]


def test_requests_are_as_documented():
    """Both bounds exclusive, a hundred a page, the same bounds with a token."""
    with Script("author_id", low=100, high=200, cat=[page(150, more="abc"), page(120)]) as script:
        script.drain()
        path = urllib.parse.urlsplit(script._server.requests[0].path).path

    first = {"query": "cat", "max_results": "100", "since_id": "99", "until_id": "200", "expansions": "author_id"}
    assert SEARCH_PATH == path
    assert [first, first | {"next_token": "abc"}] == script.asked


def test_no_post_overtakes_a_page_that_is_still_to_come():
    """What one rule has on its second page is older than the end of its first, and perhaps newer than another's."""
    with Script(cat=[page(9, 8, more="a"), page(6, 5)], dog=[page(9, 7, 5, 2)]) as script:
        pieces = script.drain()

    assert [9, 8, 7, 6, 5, 2] == ids_of(pieces)
    assert [["1", "2"], ["1"], ["2"], ["1"], ["1", "2"], ["2"]] == [rules for _, rules in outline(pieces)]
    assert [8, 1] == [found.down_to_id for found in pieces]
    assert [(9, 8, 9, 7, 5, 2), (6, 5)] == [found.fetched for found in pieces]
    assert [2, 1] == [found.requests for found in pieces]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        # out of order, twice on a page, twice on two pages
        ([page(4, 8, 6, more="a"), page(3, 2)], [8, 6, 4, 3, 2]),
        ([page(8, 8, 7, 8, more="a"), page(5, 5)], [8, 7, 5]),
        ([page(8, 7, more="a"), page(8, 7, 5)], [8, 7, 5]),
        # outside the range
        ([page(80, 10, 9, more="a"), page(3, 1, 0)], [9, 3, 1]),
        # later than where it belongs
        ([page(9, 5, more="a"), page(7, 4)], [9, 5, 7, 4]),
        # an outlier on the first page
        ([page(9, 2, more="a"), page(8, 7, more="b"), page(6, 5)], [9, 2, 8, 7, 6, 5]),
        # pages that are empty, by deleted posts, and go on
        ([page(9, more="a"), page(more="b"), page(more="c"), page(4)], [9, 4]),
        # no ids
        ([page(9) | {"data": [{"id": "9"}, {}, {"id": 8}, {"id": "x"}, {"id": "9" * 30}, "post", None]}], [9]),
        ([page() | {"data": "posts", "includes": [], "errors": {}}], []),
    ],
)
def test_pages_against_the_rules_lose_nothing(pages, found):
    """And bring nothing twice, and keep what order there is."""
    with Script(cat=pages) as script:
        pieces = script.drain()

        assert found == ids_of(pieces)
        assert {} == script.search.lost
    for piece in pieces:
        assert sorted(ids_of([piece]), reverse=True) == ids_of([piece])
    ends = [piece.down_to_id for piece in pieces]
    assert sorted(ends, reverse=True) == ends
    assert 1 == ends[-1]


@pytest.mark.parametrize("last", [page(more="same"), page(9, 7, more="same"), page(99, 98, more="same")])
def test_pages_without_end_end(last):
    """Empty, repeated, or beyond the range: the rule is named, and the others go on."""
    with Script(cat=[page(9, 7, more="a"), last], dog=[page(9, 6, 3)]) as script:
        pieces = script.drain()

        assert [9, 7, 6, 3] == ids_of(pieces)
        assert 1 == pieces[-1].down_to_id
        assert ["cat"] == list(script.search.lost)
    assert 2 + BARREN_PAGES == len(script.asked)


REFUSED = answer(400, {"title": "Invalid Request", "errors": [{"message": "`next_token` is not valid"}]})


def test_a_token_that_x_refuses_is_given_up():
    """It goes on below the last post, with a new one."""
    pages = [page(9, 7, more="a"), REFUSED, page(5, 4, more="b"), page(more="c"), REFUSED, page(3)]
    with Script(cat=pages) as script:
        assert [9, 7, 5, 4, 3] == ids_of(script.drain())
        assert {} == script.search.lost

    assert ["10", "10", "7", "7", "7", "4"] == [asked["until_id"] for asked in script.asked]
    assert [None, "a", None, "b", "c", None] == [asked.get("next_token") for asked in script.asked]


def test_tokens_that_are_never_accepted_end():
    """Also where the pages before were empty."""

    def step(connection, request, server):
        reply = REFUSED if "next_token" in request.path else answer(200, page(more="a"))
        return reply(connection, request, server)

    with Script(cat=[step]) as script:
        assert [] == ids_of(script.drain())
        assert ["cat"] == list(script.search.lost)


def test_a_query_that_x_begins_to_refuse_is_lost_from_there():
    """What came before was given out."""
    with Script(cat=[page(9, 7, more="a"), REFUSED], dog=[page(9, 6)]) as script:
        assert [9, 7, 6] == ids_of(script.drain())
        assert "is not valid" in script.search.lost["cat"]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer(401), TokenRejected),
        (answer(402), OutOfCredit),
        (answer(403), NotAuthorized),
        (answer(404), NotFound),
        (answer(429, {"title": "UsageCapExceeded"}), OutOfCredit),
        (answer(429), RateLimited),
        (answer(503), ServiceUnavailable),
        (answer(200, b"<html>"), ServiceUnavailable),
        # no answer of a search: taken for no posts, it would prove what is not so
        (answer(200, b""), ServiceUnavailable),
        (answer(200, {"errors": [{"title": "Whatever"}]}), ServiceUnavailable),
        (stream(b"{", CUT), ConnectionLost),
    ],
)
def test_after_an_error_it_goes_on_where_it_was(step, kind):
    """Neither a post nor a request is lost; those that were answered are not asked again."""
    with Script(cat=[page(9, 7, more="a"), step, page(5, 4)], dog=[page(8), page(1)]) as script:
        first = script.search.next()
        with pytest.raises(kind):
            script.search.next()
        rest = script.drain()

        assert [9, 8, 7, 5, 4] == ids_of([first, *rest])
        assert {} == script.search.lost
    assert ["cat", "dog", "cat", "cat"] == [asked["query"] for asked in script.asked]
    assert [2, 2] == [found.requests for found in (first, *rest)]


# -- lines


def test_a_line_has_all_that_its_post_refers_to():
    """From the includes, and from the page itself, where X does not repeat its posts; nothing of other posts."""
    quoting = {
        "id": "9",
        "author_id": "71",
        "referenced_tweets": [{"type": "quoted", "id": "8"}, {"type": "replied_to", "id": "2"}],
        "attachments": {"media_keys": ["3_1"], "poll_ids": ["5"]},
        "geo": {"place_id": "aa"},
        "in_reply_to_user_id": "72",
        "entities": {"mentions": [{"id": "73", "username": "three"}, {"username": "four"}]},
    }
    quoted = {"id": "8", "author_id": "75", "attachments": {"media_keys": ["3_2"]}}
    parent = {"id": "2", "author_id": "76", "in_reply_to_user_id": "77"}
    users = {n: {"id": str(n), "username": f"{name}"} for n, name in zip(range(71, 79), "abcdefgh", strict=True)}
    users[74]["username"] = "four"
    media = {n: {"media_key": f"3_{n}"} for n in (1, 2, 3)}
    missing = {"resource_id": "2000", "value": "2000", "title": "Not Found Error"}
    about = {"value": "72", "title": "Forbidden"}
    body = {
        "data": [quoting, quoted],
        "includes": {
            "tweets": [parent],
            "users": [*users.values()],
            "media": [*media.values()],
            "polls": [{"id": "5"}, {"id": "6"}],
            "places": [{"id": "aa"}, {"id": "bb"}],
        },
        "errors": [missing, about, {"value": ["72"]}],
        "meta": {},
    }
    with Script(f"{EXPANSIONS},referenced_tweets.id.attachments.media_keys", cat=[body]) as script:
        first, second = lines_of(script.drain())

    assert {
        "data": quoting,
        "includes": {
            "tweets": [quoting, quoted, parent],
            "users": [users[71], users[72], users[73], users[74], users[75], users[76]],
            "media": [media[1], media[2]],
            "polls": [{"id": "5"}],
            "places": [{"id": "aa"}],
        },
        "errors": [about],
        "matching_rules": [{"id": "1", "tag": "tag cat"}],
    } == first
    assert {
        "data": quoted,
        "includes": {"tweets": [quoted], "users": [users[75]], "media": [media[2]]},
        "matching_rules": [{"id": "1", "tag": "tag cat"}],
    } == second


def test_an_object_that_was_not_asked_for_is_not_added():
    """Other posts of the page may have brought it; the stream would not have."""
    body = {
        "data": [{"id": "9", "author_id": "71", "referenced_tweets": [{"type": "quoted", "id": "8"}]}, {"id": "8"}],
        "includes": {"users": [{"id": "71", "username": "a"}]},
        "meta": {},
    }
    with Script("in_reply_to_user_id", cat=[body]) as script:
        assert all("includes" not in line for line in lines_of(script.drain()))


def test_what_could_not_be_found_goes_along():
    """As in a line of the stream, `errors` beside `data`."""
    error = {"value": "2", "resource_id": "2", "parameter": "referenced_tweets.id", "title": "Not Found Error"}
    body = {
        "data": [{"id": "9", "referenced_tweets": [{"type": "replied_to", "id": "2"}]}, {"id": "8"}],
        "errors": [error],
        "meta": {},
    }
    with Script("referenced_tweets.id", cat=[body]) as script:
        first, second = lines_of(script.drain())

    assert [error] == first["errors"]
    assert [first["data"]] == first["includes"]["tweets"]
    assert "errors" not in second


def test_what_is_no_unicode_is_delivered_as_it_came():
    """Half a surrogate pair, and a number beyond 64 bits."""
    body = b'{"data":[{"id":"9","text":"\\ud83e","big":123456789012345678901234}],"meta":{}}'
    with Script(cat=[answer(200, body)]) as script:
        (line,) = lines_of(script.drain())

    assert {"id": "9", "text": "\ud83e", "big": 123456789012345678901234} == line["data"]


def test_a_line_ends_where_it_ends():
    """One line of JSON, in the order of the stream."""
    with Script(cat=[page(9)]) as script:
        (found,) = script.drain()

    assert (b'{"data":{"id":"9","text":"post 9"},"matching_rules":[{"id":"1","tag":"tag cat"}]}',) == found.lines
