"""
Whatever stands where JSON is read, a door names it: the errors that its docstring lists, and no other.

Deep nesting, half of a surrogate pair, bytes that are no UTF-8, numbers without bound, times beyond the calendar.
"""

import base64
import contextlib
import json
import random

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from connector.cluster.assignment import _claims_of
from connector.cluster.coverage import coverage_of
from connector.cluster.requests import GapRequests
from connector.cluster.statuses import decode_status
from connector.config.options import Unfit
from connector.config.rules import read_rules
from connector.coverage import progress
from connector.coverage.ledger import YOUNG_IDS, Ledger, Runs, decode_ids, encode_ids
from connector.coverage.offset import Coverage
from connector.errors import FatalError, ServiceUnavailable
from connector.history.fold import History
from connector.history.records import Counts, Minute, Told, decode, encode
from connector.kafka.state.offsets import OffsetTable, decode_key
from connector.simulator.control import BadControl, _body
from connector.simulator.faults.schedule import UnknownFault, parse_schedule
from connector.simulator.http.wire import Request
from connector.sources.rest.account import Account
from connector.sources.rest.api import Api, parse_problem
from connector.sources.rest.credentials import BearerToken
from connector.sources.rest.rules import held_rules
from connector.web.coverage import _json, requests_in
from connector.web.guard import _user_of
from tests.unit.hostile import NO_POSTS, POSTS
from tests.unit.sources.scripted import ScriptedServer, answer

DEEP = [
    opening * levels + b"1" + closing * levels
    for levels in (300, 1_000, 1_500, 100_000)
    for opening, closing in (
        (b"[", b"]"),
        (b'{"a":', b"}"),
        (b'{"errors":[', b"]}"),
        (b'{"errors":[{"details":[', b"]}]}"),
    )
]
ANYTHING = [*DEEP, *(line for line in (*POSTS, *NO_POSTS) if len(line) < 10_000)]
ODD = [1e308, -1e308, 2**63, 2**64, -1, "inf", "nan", "1" * 5_000, "\u0663", "\x00", "", [], {}, None, True, 1.5]
ODD += ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-13-01T00:00:00Z", "2026-11-01T00:00:00"]

TIME = "2026-11-01T12:34:56.789Z"
GAP = {"from": TIME, "to": TIME, "reason": "why", "state": "open", "way": "search", "posts": 1, "billed": 1}
GAP |= {"cost_usd": 1.5, "until_id": "5", "rules": "a", "closed_at": TIME, "detail": "more"}
SPENT = {"day": "2026-11-01", "posts": 1, "month": "2026-11", "usd": 1.5}
OFFSET = {"covered_from": TIME, "covered_to": TIME, "gaps": [GAP], "posts": 5, "dead_letters": 1, "batch": 7}
OFFSET |= {"spent": SPENT, "rules": "a", "run": "b"}
STATUS = {"state": "RUNNING", "worker_id": "a:1", "trace": None, "detail": None, "connections": ["a"], "outages": []}
ASKED = {"connector": "posts", "partition": None, "from": TIME, "action": "retry", "at": TIME}
KEY = b'["posts",{"stream":"filtered"}]'


def odd(fields):
    """*fields* with each of them odd in turn, those inside too; the first one is *fields*."""
    yield fields
    for name, value in fields.items():
        for other in ODD:
            yield {**fields, name: other}
        if isinstance(value, dict):
            yield from ({**fields, name: each} for each in odd(value))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from ({**fields, name: [each]} for each in odd(value[0]))


def encoded(values):
    return [json.dumps(value).encode() for value in values]


def damaged(value):
    """*value* with bytes of it changed."""
    rng = random.Random(1)
    for _ in range(500):
        changed = bytearray(value)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        yield bytes(changed)


def offset(value):
    """Read a source offset, and write it again as the task would."""
    assert Coverage.decode(value).encode()


def table(value):
    """Show the coverage that the offsets topic tells of."""
    offsets = OffsetTable()
    offsets.apply(KEY, value)
    offsets.apply(value, value)
    coverage_of("posts", offsets, {}, settle_ms=0)


def closed_gaps(value):
    offsets = OffsetTable()
    offsets.apply(KEY[:-1] + b',"repaired"]', value)
    coverage_of("posts", offsets, {}, settle_ms=0)


def ledger(value):
    """Read a record of the ledger, and remember its ids until they are sorted and packed."""
    runs, remembered = Runs(), Ledger()
    runs.append(value)
    assert decode_ids(value) == list(runs)
    remembered.update(runs)
    if remembered._young and max(remembered._young) > 2**63:
        remembered.update(range(YOUNG_IDS))


def problem(body):
    """Read the body of an error; what it says can be logged, published and put into a header."""
    found = parse_problem(body)
    assert f"{found.words}{found.title}{found.detail}{found.type}{found.issue}".encode() is not None


def rules_file(suffix, folder):
    def read(content):
        path = folder / f"rules{suffix}"
        path.write_bytes(content)
        read_rules(str(path))

    return read


RULES = [
    rb'[{"value":"\ud800"}]',
    rb'[{"value":"a","tag":"\udc00"}]',
    b"[" + b"1" * 5_000 + b"]",
    *encoded([[{"value": each}] for each in ODD]),
]
TOML = [
    b"a=" + b"1" * 5_000,
    b"rules=" + b"[" * 5_000,
    b"a=2021-13-01",
    b"[a" + b".a" * 5_000 + b"]",
    b'[[rules]]\nvalue="\\ud800"',
]
PROBLEMS = [
    rb'{"title":"\ud800","detail":"\udc00","errors":[{"message":"\ud83d"}],"connection_issue":"\ud800"}',
    b'{"title":"\xed\xa0\x80"}',
    *encoded({"errors": [{"details": [each]}]} for each in ODD),
]
DOORS = {
    "offset": (offset, ValueError, [*encoded(odd(OFFSET)), *ANYTHING]),
    "offset of a task": (lambda value: progress._decode(value, ""), FatalError, [*encoded(odd(OFFSET)), *ANYTHING]),
    "offset that is shown": (table, ValueError, [*encoded(odd(OFFSET)), *ANYTHING]),
    "key of an offset": (decode_key, (), ANYTHING),
    "closed gaps": (progress._decode_gaps, FatalError, [*encoded([each] for each in odd(GAP)), *ANYTHING]),
    "closed gaps that are shown": (closed_gaps, ValueError, [*encoded([each] for each in odd(GAP)), *ANYTHING]),
    "sets of rules": (
        progress._decode_rules,
        FatalError,
        [*encoded({"a": [["1", "x", each]]} for each in ODD), *ANYTHING],
    ),
    "ledger": (ledger, ValueError, [*damaged(encode_ids([5, 7, 2**62])), *ANYTHING]),
    "status": (decode_status, ValueError, [*encoded(odd(STATUS)), *ANYTHING]),
    "request for a gap": (
        lambda value: GapRequests(None, "configs").apply(b"key", value),
        (),
        [*encoded(odd(ASKED)), *ANYTHING],
    ),
    "claims of a member": (lambda value: _claims_of(ConsumerProtocolMemberMetadata(1, [], value)), (), ANYTHING),
    "problem": (problem, (), [*PROBLEMS, *ANYTHING]),
    "request to the web": (
        lambda body: list(requests_in(_json(body), {"connectors": [{"name": "posts", "gaps": [GAP]}]})),
        ValueError,
        [*encoded(odd({"connector": "posts", "action": "retry", "from": "all"})), *ANYTHING],
    ),
    "history": (
        lambda value: History(1_796_040_000).apply(decode(value), 0),
        ValueError,
        [
            *damaged(encode(Minute(process="p", number=1, at=1_796_040_000, worker="w", connectors={"a": Counts()}))),
            *damaged(
                encode(Told(process="p", number=1, at=1, kind="a.b", level="info", worker="w", fields={"c": [1]}))
            ),
            *ANYTHING,
        ],
    ),
    "login": (
        lambda value: _user_of({"a": "b"}, "Basic " + value.decode("latin-1")),
        (),
        [*ANYTHING, *map(base64.b64encode, ANYTHING)],
    ),
    "control of the simulator": (
        lambda body: _body(Request(method="POST", path="/control", query=(), headers={}, body=body, peer=("", 0))),
        BadControl,
        ANYTHING,
    ),
    "faults of the simulator": (parse_schedule, UnknownFault, ANYTHING),
}


@pytest.mark.parametrize("door", DOORS)
def test_door(door):
    """Each answers with an error that it promises, or takes what it can read."""
    read, errors, values = DOORS[door]
    taken = 0
    for value in values:
        try:
            read(value)
        except errors:
            continue
        taken += 1

    assert taken


@pytest.mark.parametrize(("suffix", "contents"), [(".json", RULES), (".toml", TOML)])
def test_rules_file(suffix, contents, tmp_path):
    """A rules file that is none is a sentence about the configuration."""
    read = rules_file(suffix, tmp_path)
    for content in [*contents, *ANYTHING]:
        with contextlib.suppress(Unfit):
            read(content)
    with pytest.raises(Unfit):
        read(contents[0])


def asked(body, ask):
    """What *ask* makes of an X that answers *body*."""
    with ScriptedServer([answer(200, body)]) as server, Api(server.url, BearerToken("t")) as api:
        return ask(api)


HALVES = rb'{"data":[{"id":"\ud800","value":"a \udc00","tag":"\ud83d\udc26 \ud83d"}]}'


def test_rules_at_x_can_be_written_down():
    """Half of a surrogate pair in a rule of somebody is U+FFFD for us: the offsets topic could not tell of it."""
    (rule,) = asked(HALVES, held_rules)

    assert ("\ufffd", "a \ufffd", "\U0001f426 \ufffd") == (rule.id, rule.value, rule.tag)


def test_answers_for_posts_are_exact():
    """What becomes a post is not changed."""
    found = asked(HALVES, lambda api: api.get("/2/tweets/search/recent", exact=True))

    assert "a \udc00" == found["data"][0]["value"]


@pytest.mark.parametrize("body", [b'{"data":' + each + b"}" for each in DEEP if len(each) > 100_000])
def test_answers_of_very_many_levels(body):
    """They are waited out under their own name, not taken for the answer of another host."""
    with pytest.raises(ServiceUnavailable, match="levels"):
        asked(body, held_rules)


def test_numbers_that_are_none():
    """A number beyond all bounds is one that X did not say."""
    usage = asked(
        b'{"data":{"project_usage":1e999,"project_cap":"nan","cap_reset_day":[]}}', lambda api: Account(api).usage()
    )

    assert (None, None, None) == (usage.posts, usage.cap, usage.days_left)
