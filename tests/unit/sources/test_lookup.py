"""Asking X for posts by their ids: what counts as gone, and the source that stands in the place of a stream."""

import threading
import time

import pytest

from connector.compliance.rechecks import Handover, read
from connector.errors import ConnectionLost, ConnectorError, RateLimited, TokenRejected
from connector.simulator import SimulatorSettings, SimulatorThread
from connector.sources.lookup import LookupSource, answers_in
from connector.sources.rest.credentials import BearerToken
from connector.sources.stream.streams import STREAMS


def error(post, kind, **more):
    host = "https://api.twitter.com/2/problems"
    return {"resource_id": str(post), "resource_type": "tweet", "parameter": "ids", "type": f"{host}/{kind}", **more}


def says(posts, answer):
    return {each.post: each.says for each in map(read, answers_in(posts, answer))}


def test_a_post_is_gone_only_if_x_says_so():
    """Found beats a problem with a part of it; anything else is not clear, and so is a post that X does not mention."""
    answer = {
        "data": [{"id": "1"}, {"id": "2"}, {"id": 3}, "4"],
        "errors": [
            error(2, "resource-not-found"),
            error(5, "resource-not-found"),
            error(6, "not-authorized-for-resource"),
            error(7, "resource-unavailable"),
            error(8, "resource-not-found", resource_type="user", parameter="author_id"),
            {"value": "9", "parameter": "ids", "type": "https://api.x.com/2/problems/resource-not-found"},
            {"resource_id": [10], "type": 4},
            "nonsense",
        ],
    }

    assert {
        1: "found",
        2: "found",
        3: "unclear",
        4: "unclear",
        5: "resource-not-found",
        6: "not-authorized-for-resource",
        7: "unclear",
        8: "unclear",
        9: "resource-not-found",
        10: "unclear",
        11: "unclear",
    } == says(range(1, 12), answer)
    assert {1: "unclear"} == says([1], {})
    assert {1: "unclear"} == says([1], {"data": {"id": "1"}, "errors": "1"})


class Reading:
    """A source in a thread, and what it puts."""

    def __init__(self, simulator, token=None):
        self.arrivals, self.connects, self.end = [], [], None
        self.source = LookupSource(
            connector="posts",
            stream=STREAMS["recheck"],
            partition={"stream": "recheck"},
            url=simulator.url,
            credentials=BearerToken(token or simulator.settings.token),
            parameters={},
            wanted={},
            emit=lambda _: None,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.source.read(self.arrivals.append, self.connects.append)
        except ConnectorError as error:
            self.end = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.source.stop()
        self.join()

    def join(self):
        self.thread.join(5)
        assert not self.thread.is_alive()

    def wait(self, count):
        deadline = time.monotonic() + 10
        while len(found := [line for each in list(self.arrivals) for line in each.lines]) < count:
            assert time.monotonic() < deadline, self.end
            time.sleep(0.01)
        return {each.post: each.says for each in map(read, found)}


@pytest.fixture
def simulator():
    with SimulatorThread(SimulatorSettings(plan="ppu")) as started:
        yield started


def delete(simulator, post):
    simulator.call(lambda: simulator.simulator.delete_post(post))


def test_what_is_handed_over_is_asked(simulator):
    """Each once; without anything to ask it is well, too, and a stop ends it at once."""
    posts = [int(post) for post in simulator.emit(3)]
    delete(simulator, str(posts[1]))
    with Reading(simulator) as reading:
        deadline = time.monotonic() + 5
        while not reading.connects:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        reading.source.handover.want(tuple(posts))
        assert {posts[0]: "found", posts[1]: "resource-not-found", posts[2]: "found"} == reading.wait(3)
        reading.source.handover.want((posts[0],))
        reading.wait(4)
        time.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert (None, 1, 4) == (reading.end, len(reading.connects), sum(len(each.lines) for each in reading.arrivals))


def test_what_was_not_converted_is_asked_again(simulator):
    """By the next connection, as nobody knows what became of the answer."""
    (post,) = map(int, simulator.emit(1))
    first = Reading(simulator)
    first.source.handover.want((post,))
    with first:
        first.wait(1)
        first.source.hang_up()
        first.join()
        assert None is first.end
        first.thread = threading.Thread(target=first._run, daemon=True)
        first.thread.start()
        first.wait(2)


def test_x_refuses_or_limits(simulator):
    """The error says what; a request beyond the limit is not even sent."""
    (post,) = map(int, simulator.emit(1))
    refused = Reading(simulator, token="wrong")  # noqa: S106  # opens nothing
    refused.source.handover.want((post,))
    with refused:
        refused.join()
    assert isinstance(refused.end, TokenRejected)
    assert [] == refused.connects

    with SimulatorThread(SimulatorSettings(plan="ppu", rate_limits={"lookup": 1})) as narrow:
        (post,) = map(int, narrow.emit(1))
        with Reading(narrow) as limited:
            limited.source.handover.want((post,))
            limited.wait(1)
            limited.source.handover.want((post,))
            limited.join()
    assert isinstance(limited.end, RateLimited)
    assert None is not limited.end.reset_at


def test_x_cannot_be_reached():
    """It ends with the error, without having been connected."""
    with SimulatorThread(SimulatorSettings()) as gone:
        reading = Reading(gone)
    reading.source.handover.want((1,))
    with reading:
        reading.join()
    assert isinstance(reading.end, ConnectionLost)
    assert [] == reading.connects


def test_a_handover_replaces_what_was_wanted():
    """It gives each tuple once to whoever has seen the last one; equal posts are wanted again as another tuple."""
    handover = Handover()
    assert () == handover.next(None, 0, over=lambda: False)
    first, second = (tuple(range(2)) for _ in range(2))
    handover.want(first)
    assert first is handover.next(None, 0, over=lambda: False)
    assert () == handover.next(first, 0, over=lambda: False)
    handover.want(second)
    assert second is handover.next(first, 0, over=lambda: False)
    assert () == handover.next(None, 9, over=lambda: True)
