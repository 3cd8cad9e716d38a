"""Which messages has the kernel taken?"""

import pytest

from connector.simulator.streams.messages import Message, Unsettled

FRAMES = 6
"""Bytes of the frames of a chunk, in these tests."""


def message(number, length=8):
    return Message(post_id=number, line=b"x" * length)


@pytest.fixture
def unsettled():
    """Two messages of 10 bytes, line ends included, the second in two chunks."""
    unsettled = Unsettled()
    unsettled.accept(10, message(1))
    unsettled.sent(10, 10 + FRAMES)
    unsettled.accept(10, message(2))
    unsettled.sent(4, 14 + 2 * FRAMES)
    unsettled.sent(6, 20 + 3 * FRAMES)
    return unsettled


@pytest.mark.parametrize(
    ("taken", "settled"),
    [
        (0, []),
        (10 + FRAMES - 1, []),  # the frame's end is missing
        (10 + FRAMES, [1]),
        (14 + 2 * FRAMES, [1]),
        (20 + 3 * FRAMES, [1, 2]),
    ],
)
def test_a_message_is_settled_when_its_last_chunk_is_taken(unsettled, taken, settled):
    """Not before, and once."""
    assert [message.post_id for message, size in unsettled.settle(taken) if size == 10] == settled
    assert unsettled.settle(taken) == []


def test_what_the_framer_holds_is_not_settled():
    """The message was accepted, and only half of it is in a chunk."""
    unsettled = Unsettled()
    unsettled.accept(10, message(1))
    unsettled.sent(5, 5 + FRAMES)

    assert unsettled.settle(5 + FRAMES) == []


def test_payload_without_messages_is_counted(unsettled):
    """A message after prepared bytes is settled with its own chunk."""
    unsettled.settle(20 + 3 * FRAMES)
    unsettled.skip(1000)
    written = 1020 + 4 * FRAMES
    unsettled.accept(10, message(3))
    unsettled.sent(10, written + 10 + FRAMES)

    assert unsettled.settle(written) == []
    assert [message.post_id for message, _ in unsettled.settle(written + 10 + FRAMES)] == [3]


def test_what_is_given_up_comes_back_once(unsettled):
    """The messages that the kernel did not take."""
    unsettled.settle(10 + FRAMES)

    assert [message.post_id for message in unsettled.give_up()] == [2]
    assert unsettled.give_up() == []
