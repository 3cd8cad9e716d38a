import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.records.record import Connected
from connector.task.buffer import Buffer
from tests.unit.fakes import arrival, post

SIZE = arrival(post(1)).size
"""Of any post that arrives alone."""


class Wakes(list):
    def __call__(self):
        self.append("woken")


@pytest.fixture
def wakes():
    return Wakes()


def put_in_thread(buffer, *arrivals):
    thread = threading.Thread(target=lambda: [buffer.put(each) for each in arrivals], daemon=True)
    thread.start()
    return thread


def test_first_put_wakes_and_so_does_a_full_batch(wakes):
    """The loop is woken once after each drain, and once more when a full batch waits; not for each post."""
    buffer = Buffer(10_000, wakes, full_posts=3)
    buffer.put(arrival(post(1)))
    assert 1 == len(wakes)
    buffer.put(arrival(post(2)))
    assert 1 == len(wakes)
    buffer.put(arrival(post(3)))
    assert 2 == len(wakes)
    assert buffer.full
    buffer.put(arrival(post(4)))
    assert 2 == len(wakes)

    buffer.drain(100)
    buffer.put(arrival(post(5)))
    assert 3 == len(wakes)
    assert not buffer.full


def test_drain_takes_whole_arrivals(wakes):
    """What came out of the socket together stays together, up to the number of posts that was asked for."""
    buffer = Buffer(10_000, wakes, full_posts=100)
    arrivals = [arrival(post(1), post(2)), arrival(), arrival(post(3), post(4)), arrival(post(5))]
    for each in arrivals:
        buffer.put(each)

    assert arrivals[:3] == buffer.drain(3)
    assert (1, arrivals[3].size) == (buffer.posts, buffer.size_bytes)
    assert arrivals[3:] == buffer.drain(3)
    assert [] == buffer.drain(3)


def test_full_buffer_blocks_until_delivered(wakes):
    """A put without room waits; a drain whose posts were delivered makes room."""
    buffer = Buffer(SIZE, wakes, full_posts=100)
    thread = put_in_thread(buffer, arrival(post(1)), arrival(post(2)))
    thread.join(0.05)
    assert thread.is_alive()
    assert 1 == buffer.posts

    buffer.drain(1)
    buffer.hold(0)
    thread.join(5)
    assert not thread.is_alive()
    assert 1 == buffer.posts


def test_release_lets_a_blocked_put_finish(wakes):
    """At a stop what was read is not lost: the put that waits, and later ones, come in."""
    buffer = Buffer(1, wakes, full_posts=100)
    thread = put_in_thread(buffer, arrival(post(1)), arrival(post(2)), arrival(post(3)))
    thread.join(0.02)
    buffer.release()
    thread.join(5)

    assert not thread.is_alive()
    assert [post(1), post(2), post(3)] == [line for _ in range(3) for each in buffer.drain(9) for line in each.lines]


def test_one_larger_than_the_buffer_is_let_in_alone(wakes):
    """A post larger than the whole buffer does not block the stream for ever."""
    buffer = Buffer(10, wakes, full_posts=100)
    buffer.put(arrival(post(1)))

    assert 1 == buffer.posts


def test_keep_alives_need_no_room(wakes):
    """A keep-alive has no bytes, and so is never held up."""
    buffer = Buffer(SIZE, wakes, full_posts=100)
    buffer.put(arrival(post(1)))
    thread = put_in_thread(buffer, arrival())
    thread.join(5)

    assert not thread.is_alive()


def test_connected_stands_before_what_came_on_it(wakes):
    """That a connection was opened comes out in its place, counts as no post, and wakes the loop as a post does."""
    buffer, connected = Buffer(10_000, wakes, full_posts=100), Connected(at=5.0, skew_secs=0.0)
    buffer.put_connected(connected)
    assert (1, 0, 0) == (len(wakes), buffer.posts, buffer.size_bytes)
    before, behind = arrival(post(1)), arrival(post(2))
    buffer.put(before)
    buffer.put_connected(connected)
    buffer.put(behind)
    assert 1 == len(wakes)

    assert [connected, before, connected] == buffer.drain(1) + buffer.drain(1)[:1]
    assert (0, 0) == (buffer.posts, buffer.size_bytes)


def test_connected_is_never_held_up(wakes):
    """A full buffer lets it in: it takes no room."""
    buffer = Buffer(SIZE, wakes, full_posts=100)
    buffer.put(arrival(post(1)))
    thread = threading.Thread(target=buffer.put_connected, args=(Connected(at=5.0, skew_secs=0.0),), daemon=True)
    thread.start()
    thread.join(5)

    assert not thread.is_alive()


@given(st.lists(st.lists(st.binary(min_size=1, max_size=20), max_size=4), max_size=30), st.integers(1, 5))
def test_nothing_is_lost_or_reordered(batches, most):
    """Whatever is put comes out, in order, and the counts of what waits are exact throughout."""
    buffer, arrivals = Buffer(10**6, lambda: None, full_posts=10), [arrival(*lines) for lines in batches]
    for each in arrivals:
        buffer.put(each)
    taken = []
    while drained := buffer.drain(most):
        taken += drained
        rest = arrivals[len(taken) :]
        assert sum(len(each.lines) for each in rest) == buffer.posts
        assert sum(each.size for each in rest) == buffer.size_bytes

    assert arrivals == taken


def test_no_wake_where_the_loop_drains_by_itself(wakes):
    """While the loop keeps its pace nothing wakes it but a full batch; what comes later does again."""
    buffer = Buffer(10_000, wakes, full_posts=3)
    buffer.will_drain(time.monotonic() + 60)
    buffer.put(arrival(post(1)))
    buffer.put(arrival(post(2)))
    assert 0 == len(wakes)
    buffer.put(arrival(post(3)))
    assert 1 == len(wakes)

    buffer.drain(100)
    buffer.put(arrival(post(4)))
    assert 1 == len(wakes)
    buffer.will_drain(time.monotonic() - 1)
    buffer.put(arrival(post(5)))
    assert 2 == len(wakes)


def test_a_connection_wakes_in_any_case(wakes):
    """That a connection was opened does not wait for the pace."""
    buffer = Buffer(10_000, wakes, full_posts=3)
    buffer.will_drain(time.monotonic() + 60)
    buffer.put_connected(Connected(at=1.0, skew_secs=0.0, date=None))

    assert 1 == len(wakes)


def test_what_the_loop_holds_counts(wakes):
    """Taken and not delivered is not gone: with what waits it stays within the bytes, until it is given back."""
    buffer = Buffer(4 * SIZE, wakes, full_posts=100)
    for number in range(3):
        buffer.put(arrival(post(number)))
    buffer.drain(2)
    buffer.put(arrival(post(3)))
    thread = put_in_thread(buffer, arrival(post(4)))
    thread.join(0.1)
    assert thread.is_alive()

    buffer.hold(2 * SIZE)  # no change
    thread.join(0.1)
    assert thread.is_alive()
    buffer.hold(SIZE)
    thread.join(5)
    assert not thread.is_alive()
    assert 3 == buffer.posts


def test_a_large_one_waits_until_nothing_is_held(wakes):
    """It is let in alone."""
    buffer = Buffer(100, wakes, full_posts=100)
    buffer.put(arrival(b"x" * 200))
    buffer.drain(100)
    thread = put_in_thread(buffer, arrival(b"y" * 200))
    thread.join(0.1)
    assert thread.is_alive()

    buffer.hold(0)
    thread.join(5)
    assert not thread.is_alive()


def test_a_third_of_the_bytes_is_a_batch(wakes):
    """Few large posts are a full batch, too: while it is committed another one can be built, and one be read."""
    buffer = Buffer(3 * 4 * SIZE, wakes, full_posts=100)
    for number in range(3):
        buffer.put(arrival(post(number)))
    assert not buffer.full
    for number in range(3, 6):
        buffer.put(arrival(post(number)))
    assert buffer.full
    assert 2 == len(wakes)

    assert 4 == len(buffer.drain(100))
    assert 2 == buffer.posts
