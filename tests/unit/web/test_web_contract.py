"""The requests that were recorded against real Kafka Connect workers, asked of our routes over connectors in memory."""

import asyncio
import json
import logging

import aiohttp
import pytest

from tests.connect.replay import Replayer, differences, recorded
from tests.connect.serving import served

RECORDED = recorded()
HTML = frozenset({"double slash", "weird name"})
"""Requests that Connect answers in HTML, and we in JSON."""

LISTS_OF_ITS_OWN = frozenset({"plugins", "plugins slash", "plugins all", "loggers", "loggers after"})
"""What a worker has: other classes and other loggers than the recorded one."""

MOMENTS = {
    "restart failed": ("$.connector.state",),  # the recorded worker had not resumed it yet
    "info provider": ("$.tasks",),  # nor had it started the task
}
"""Requests whose answer hangs on the moment, and what of it."""


@pytest.fixture(scope="module")
def answers():
    """Status, headers and body of the answer to each request, by the request's name; they are sent in their order."""

    async def replay():
        async with served() as web, aiohttp.ClientSession() as session:
            replayer = Replayer(session, web.client.make_url("/"), pace=0)
            return {each.name: await replayer.ask(each.request) for each in RECORDED}

    level, known = logging.root.level, set(logging.root.manager.loggerDict)
    logging.root.setLevel(logging.INFO)
    try:
        return asyncio.run(replay())
    finally:
        logging.root.setLevel(level)
        for name in set(logging.root.manager.loggerDict) - known:
            del logging.root.manager.loggerDict[name]


@pytest.fixture(params=RECORDED, ids=lambda each: each.name)
def each(request):
    return request.param


def test_status(answers, each):
    """Each status is that of a real worker, or the one that is listed as a deviation."""
    status, _, body = answers[each.name]

    assert (each.status, each.name) == (status, each.name), body


def test_body(answers, each):
    """Each body has the keys, types and texts of the real worker's; only the listed deviations differ."""
    _, _, body = answers[each.name]
    if each.why or each.name in LISTS_OF_ITS_OWN:
        return
    if each.name == "OPTIONS":
        each, body = set(each.body.split(", ")), set(body.split(", "))
        assert each == body
        return
    found = [text for text in differences(each.body, body) if not text.startswith(MOMENTS.get(each.name, ("-",)))]

    assert [] == [text for text in found if "Unsupported Media Type" not in text]


def test_form(answers, each):
    """An error is JSON that carries its own status; what is empty has no content type; all else is JSON."""
    status, headers, body = answers[each.name]
    if each.request["method"] in {"HEAD", "OPTIONS"}:
        assert 200 == status
    elif body == "":
        assert status in {202, 204}
        assert "Content-Type" not in headers
    else:
        assert "application/json" == headers["Content-Type"]
    if status >= 400:
        assert {"error_code", "message"} == set(body)
        assert status == body["error_code"]
        assert body["message"]


def test_created_is_located(answers, each):
    """What was created has an address, as in Connect."""
    status, headers, body = answers[each.name]

    assert (status == 201) == ("Location" in headers)
    if status == 201:
        assert headers["Location"].startswith("http://127.0.0.1:")
        assert headers["Location"].endswith(f"/connectors/{body['name']}")


DEVIATIONS = [
    ("validate no class", "Connector config {name=v} contains no connector type: connector.class is missing"),
    ("validate unknown class", "Failed to find any class that implements Connector and which name matches Nope, "),
    ("validate empty body", "The body must be a JSON object"),
    ("validate empty map", "Connector config {} contains no connector type: connector.class is missing"),
    ("create bad json", "The body is not JSON: "),
    ("create empty body", "The body must be a JSON object"),
    ("create no config", 'The field "config" is required'),
    (
        "create unknown field",
        'Unrecognized field "foo" in the body: known are name, config, initial_state, initial_offsets',
    ),
    ("create bad class", "Failed to find any class that implements Connector and which name matches Nope, "),
    ("create bad initial_state", "\"initial_state\" cannot be 'BOGUS': use RUNNING, PAUSED or STOPPED"),
    ("create nested value", 'The value of "x" in "config" must be a string, number, boolean or null, not an object'),
    ("create array body", "The body must be a JSON object, not a list"),
    ("create weird name", "Connector configuration is invalid and contains the following 1 error(s):\n"),
    ("put cfg null", "Connector configuration is invalid and contains the following 1 error(s):\n"),
    ("put cfg no body", "The body must be a JSON object"),
    ("patch offsets bad pos", "The value for the 'position' key in the offset should be a non-negative value"),
    ("patch offsets bad type", "The value for the 'position' key in the offset is expected to be a Long value"),
    ("patch offsets bad part", "Partition objects should contain the key 'filename'"),
]


@pytest.mark.parametrize(("name", "begin"), DEVIATIONS)
def test_deviations(answers, name, begin):
    """Where Connect answers 500, the message names what is wrong."""
    assert answers[name][2]["message"].startswith(begin)


def test_deviations_in_validations(answers):
    """What Connect does not see, and what we say of it."""
    null, unknown = answers["validate null value"][2], answers["validate unknown key"][2]
    creation, override = (
        answers[name][2] for name in ("validate topic creation without default", "validate bad override")
    )

    assert 1 == null["error_count"]
    assert (0, ["unknown is not known and has no effect."]) == (unknown["error_count"], unknown["warnings"])
    assert 2 == creation["error_count"]
    assert 1 == override["error_count"]
    for body in (null, creation, override):
        assert body["error_count"] == sum(len(each["value"]["errors"]) for each in body["configs"])


def test_deviations_of_names(answers):
    """The refused name is in no list, and what is removed is gone at once."""
    names = {"c1", "c2", "cp", "cs"}

    assert names == set(answers["list"][2])
    for name in ("expand status", "expand info", "expand both", "expand bogus", "expand empty"):
        assert names == set(answers[name][2])
    assert {"status"} == set(answers["expand status"][2]["c1"])
    assert {} == answers["expand bogus"][2]["c1"] == answers["expand empty"][2]["c1"]
    assert {"offsets": []} == answers["offsets after null"][2]
    assert "RUNNING" == answers["status after null cfg"][2]["connector"]["state"]


def test_loggers(answers):
    """A level that was set is shown, with when; entries have Connect's two fields and no other."""
    after = answers["loggers after"][2]

    assert all({"level", "last_modified"} == set(each) for each in after.values())
    assert {"level": "INFO", "last_modified": None} == after["root"]
    assert after["org.apache.kafka.connect.runtime.WorkerSourceTask"]["last_modified"] > 0


def test_all_is_replayed():
    """Nothing of what was recorded is left out, and the classes compared by hand are recorded ones."""
    assert 194 == len(RECORDED)
    assert {each.name for each in RECORDED} >= LISTS_OF_ITS_OWN | HTML | MOMENTS.keys()
    assert {name for name, _ in DEVIATIONS} <= {each.name for each in RECORDED if each.why}
    assert json.dumps([each.name for each in RECORDED if each.why])
