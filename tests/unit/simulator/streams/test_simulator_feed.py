"""The feed of prepared bytes: unique posts, exact lines, fast."""

import json
import os
import subprocess
import sys
import time

import pytest
from simulator_clients import Socket, chunks, eventually

from connector.simulator.snowflakes import time_ms

RULE = (("#python", "py"),)


@pytest.mark.parametrize("line_bytes", [400, 2600, 8000])
def test_each_line_is_a_post_of_its_own_and_of_exact_size(start, line_bytes):
    """Unique snowflakes of now in all places of the id, `created_at` in step, `line_bytes` each."""
    sim = start(rules=RULE, feed=True, line_bytes=line_bytes, feed_lines=777, feed_end="close")
    with Socket(sim) as stream:
        stream.read_head()
        payloads = chunks(stream.read_to_end())
    eventually(lambda: sim.connections[0].end)
    lines = b"".join(payloads).split(b"\r\n")
    assert lines.pop() == b""
    posts = [json.loads(line) for line in lines]

    assert payloads[-1] == b""
    assert len(posts) == 777
    assert {len(line) + 2 for line in lines} == {line_bytes}
    ids = [post["data"]["id"] for post in posts]
    assert len(set(ids)) == 777
    for post in posts:
        assert post["data"]["edit_history_tweet_ids"][-1] == post["data"]["id"]
        assert post["matching_rules"][0]["tag"] == "py"
        created = time_ms(int(post["data"]["id"])) / 1000
        assert abs(created - time.time()) < 10
    (record,) = sim.connections
    assert (record.posts, record.first_id, record.last_id) == (777, ids[0], ids[-1])
    assert (record.end, record.clean) == ("feed_done", True)


def test_a_bounded_feed_may_idle_with_keep_alives(start):
    """After the last line the connection stays open."""
    sim = start(rules=RULE, feed=True, feed_lines=10, keepalive_s=0.1)
    with Socket(sim) as stream:
        stream.read_head()
        stream.wait_for(b"2\r\n\r\n\r\n2\r\n\r\n\r\n")
        assert len(sim.call(sim.simulator.streams.live)) == 1
    assert sim.simulator.feed.written == 10


def test_volume_streams_are_fed_without_rules(start):
    """The sample stream needs no rule, and its lines name none."""
    sim = start(feed=True, plan="enterprise", feed_lines=30, feed_end="close")
    with Socket(sim, "/2/tweets/sample/stream") as stream:
        stream.read_head()
        lines = b"".join(chunks(stream.read_to_end())).split(b"\r\n")[:-1]

    assert len(lines) == 30
    assert all("matching_rules" not in json.loads(line) for line in lines)


def test_the_feed_waits_for_its_reader(start):
    """Backpressure: what the kernel does not take is not prepared; memory stays bounded."""
    sim = start(rules=RULE, feed=True)
    with Socket(sim, receive_bytes=65536) as stream:
        stream.read_head()
        eventually(lambda: sim.call(lambda: sim.simulator.streams.live()[0].backlog))
        time.sleep(0.2)
        first = sim.simulator.feed.written
        time.sleep(0.2)
        assert sim.simulator.feed.written == first > 0
        backlog = sim.call(lambda: sim.simulator.streams.live()[0].backlog)
        assert backlog < 8 * 70_000
        while sim.simulator.feed.written == first:
            stream.socket.recv(1 << 20)


@pytest.mark.slow
def test_the_feed_is_fast_enough_for_the_benchmark():
    """At least 70,000 lines of 2.6 KB for each second of CPU, in a process of its own."""
    command = [sys.executable, "-m", "connector.simulator", "--port", "0", "--feed", "--rule", "#python=>py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            port = int(process.stdout.readline().split("127.0.0.1:")[1].split(",")[0])
            lines, cpu = _read(port, process.pid)
        finally:
            process.terminate()
            assert process.wait(10) == 0

    assert lines / cpu > 70_000


class _At:
    """Where `Socket` finds a simulator of another process."""

    class settings:  # noqa: N801 - read as an attribute
        token = "simulated-token"  # noqa: S105 - opens nothing but a simulator

    def __init__(self, port):
        self.simulator = self
        self.port = port


def _read(port, pid):
    with Socket(_At(port)) as stream:
        stream.read_head()
        buffer = bytearray(1 << 20)

        def read(size):
            received = 0
            while received < size:  # not for a time: a busy machine may give the simulator none
                received += stream.socket.recv_into(buffer)
            return received

        read(20_000_000)
        before = _cpu(pid)
        return read(150_000_000) / 2605, max(_cpu(pid) - before, 0.01)


def _cpu(pid):
    """Seconds of CPU a process has used (Linux)."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a file of the kernel
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
