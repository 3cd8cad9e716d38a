"""
Measures what open pages cost a worker, and what its history costs.

The worker has 1,000 rules, a week of coverage with 200 gaps, and a week of history: all that is written into the
topics of its group before it starts.  A page is a connection that reads `/events`, as a browser holds one.

*pace*     250 posts/s, one in each chunk: the CPU of the worker without a page, with five pages that show seven days,
           and without again; with pages for a minute, as the counts of all rules are sent again each minute.
*speed*    The feed of `throughput` (lines of 2.6 KB as fast as the socket takes them), exactly once.  In each round one
           worker is measured without and with five pages in turn, and one that keeps no history (`without_history`).
"""

import contextlib
import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from benchmarks.contenders import EXACTLY_ONCE, rules
from benchmarks.report import Failures, say
from benchmarks.rig import ROOT, Failure, Rig, Running, Simulator, Window
from benchmarks.scenario import Effort
from benchmarks.tables import NOTHING, Text, grid

PACE, SPEED = "pace", "speed"
PARTS = (PACE, SPEED)

PAGES = 5
RULES, GAPS = 1_000, 200
PACED_RATE = 250
PACED_FACTOR = 20
"""Windows at a pace are so much longer, a minute: the counts of all rules are sent once in it."""
KEEP_BYTES = 1024**3
"""Kafka keeps this much of each partition, as a worker runs at full speed for a while."""

OPEN_SECS = 10.0
SETTLE_SECS = 2.0
"""Time after pages are opened or closed, before a window."""

WINDOWS = 2
"""Windows of each kind in a run at full speed."""

WORKER = replace(EXACTLY_ONCE, settings={"rules": rules(RULES)})
FORGETFUL = (sys.executable, "-P", str(Path(__file__).parent / "without_history.py"), "worker")

SPAN = "7d"
NO_PAGE, FIVE, NO_HISTORY = "no page", "5 pages, 7 days", "no page, no history"


def page(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run the parts of the scenario."""
    failures = Failures()
    for part, measure in ((PACE, _paced), (SPEED, _speed)):
        if effort.wants(part):
            try:
                yield measure(bench, effort)
            except Failure as failure:
                say(f"{part}: {failure}")
                failures.add(part, failure)
    yield from failures.said


# -- at a pace


def _paced(bench: Rig, effort: Effort) -> Text:
    secs = effort.seconds * PACED_FACTOR
    with bench.paced(PACED_RATE) as (simulator, _), _running(bench, simulator) as running:
        running.sleep(effort.warmup)
        before = _share(running, None, secs / 2)
        with_pages = _share(running, SPAN, secs)
        after = _share(running, None, secs / 2)
    alone = Share(cpu_percent=(before.cpu_percent + after.cpu_percent) / 2, sent=0.0, peak_bytes=before.peak_bytes)
    rows: list[Sequence[str]] = [
        ("", "CPU of a core, %", f"more than {NO_PAGE}", f"x {NO_PAGE}", "KB/s to each page", "peak MB")
    ]
    for name, share in ((NO_PAGE, alone), (FIVE, with_pages)):
        rows.append(
            (
                name,
                f"{share.cpu_percent:.2f}",
                f"{share.cpu_percent - alone.cpu_percent:.2f}",
                f"{share.cpu_percent / alone.cpu_percent:.3f}",
                f"{share.sent / 1000 / PAGES:.2f}",
                f"{share.peak_bytes / 1e6:,.0f}",
            )
        )
    swing = abs(after.cpu_percent - before.cpu_percent)
    return (
        f"At {PACED_RATE} posts/s, in one worker: {secs / 2:g} s without a page, {secs:g} s with five, {secs / 2:g} s"
        f" without. The two without differ by {swing:.2f} % of a core.\n\n{grid(rows)}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a worker takes: *cpu_percent* of a core; *sent* are bytes a second to all pages."""

    cpu_percent: float
    sent: float
    peak_bytes: int


def _share(running: Running, span: str | None, secs: float) -> Share:
    with Pages(running.urls[0], span) as pages:
        running.sleep(SETTLE_SECS)
        cpu_secs, received, begun = running.cpu_secs, pages.received, time.monotonic()
        running.sleep(secs)
        took = time.monotonic() - begun
        pages.check()
        share = Share(
            cpu_percent=(running.cpu_secs - cpu_secs) / took * 100,
            sent=(pages.received - received) / took,
            peak_bytes=running.peak_rss_bytes,
        )
    say(f"{NO_PAGE if span is None else FIVE:<20} {share.cpu_percent:.2f} % of a core, {share.sent / 1000:.1f} KB/s")
    return share


# -- at full speed


def _speed(bench: Rig, effort: Effort) -> Text:
    found: dict[str, list[Window]] = {name: [] for name in (NO_PAGE, FIVE, NO_HISTORY)}
    with bench.feed() as simulator:
        for number in range(effort.rounds):
            runs = (_with_history, _without_history)
            for run in runs if number % 2 == 0 else runs[::-1]:
                run(bench, simulator, effort, number, found)
    return f"At full speed:\n\n{_table(found)}"


def _with_history(
    bench: Rig, simulator: Simulator, effort: Effort, number: int, found: Mapping[str, list[Window]]
) -> None:
    with _running(bench, simulator) as running:
        running.sleep(effort.warmup)
        for turn in range(WINDOWS):
            kinds = ((NO_PAGE, None), (FIVE, SPAN))
            for name, span in kinds if (number + turn) % 2 == 0 else kinds[::-1]:
                with Pages(running.urls[0], span) as pages:
                    running.sleep(SETTLE_SECS)
                    found[name].append(_window(bench, running, effort, name))
                    pages.check()


def _without_history(
    bench: Rig, simulator: Simulator, effort: Effort, _number: int, found: Mapping[str, list[Window]]
) -> None:
    with _running(bench, simulator, history=False) as running:
        running.sleep(effort.warmup)
        for _ in range(WINDOWS):
            running.sleep(SETTLE_SECS)
            found[NO_HISTORY].append(_window(bench, running, effort, NO_HISTORY))


def _window(bench: Rig, running: Running, effort: Effort, name: str) -> Window:
    window = bench.window(running, effort.seconds, transactional=True, ordered=True)
    say(f"{name:<20} {window.posts_per_sec:>9,.0f} posts/s {window.cpu_us_per_post:>6.2f} µs CPU a post")
    return window


def _table(found: Mapping[str, Sequence[Window]]) -> Text:
    """Return medians and ranges, with the median and the range of the ratios to windows without a page."""
    rows: list[Sequence[str]] = [
        ("", "posts/s", f"x {NO_PAGE}", "range", "CPU µs a post", f"x {NO_PAGE}", "range", "peak MB")
    ]
    for name, windows in found.items():
        cells = [name]
        for what, style in (("posts_per_sec", ",.0f"), ("cpu_us_per_post", ".2f")):
            values = [getattr(window, what) for window in windows]
            alone = [getattr(window, what) for window in found[NO_PAGE]]
            ratios = [one / other for one, other in zip(values, alone, strict=False)]
            cells.append(f"{statistics.median(values):{style}}")
            cells.append(f"{statistics.median(ratios):.3f}")
            cells.append(NOTHING if name == NO_PAGE else f"{min(ratios):.3f}-{max(ratios):.3f}")
        cells.append(f"{max(window.peak_rss_bytes for window in windows) / 1e6:,.0f}")
        rows.append(cells)
    return grid(rows)


# -- a worker with a past


@contextlib.contextmanager
def _running(bench: Rig, simulator: Simulator, *, history: bool = True) -> Iterator[Running]:
    """Run a worker that has read a week of history, or one that keeps none, inside `with`."""
    with bench.topic(keep_bytes=KEEP_BYTES) as topic:
        _fill(bench, f"{topic}-group")
        running = (WORKER if history else replace(WORKER, command=FORGETFUL)).start(bench, simulator, topic)
        try:
            running.await_(lambda: simulator.connections == 1, "a connection")
            bench.await_first_post(running)
            if history:
                running.await_(lambda: _has_read(running), "the history")
            yield running
        finally:
            running.stop()
            with contextlib.suppress(OSError):
                simulator.await_hang_up()


def _has_read(running: Running) -> bool:
    url = running.urls[0].removeprefix("http://")
    connection = http.client.HTTPConnection(url, timeout=OPEN_SECS)
    try:
        connection.request("GET", "/history")
        return bool(orjson.loads(connection.getresponse().read())["state"]["history"]["complete"])
    except OSError:
        return False
    finally:
        connection.close()


def _fill(bench: Rig, group: str) -> None:
    """Make the topics of *group*, and write a week of coverage and of history into them, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.past", bench.broker.address, group, str(bench.folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603  # ours
    if done.returncode:
        raise Failure(f"the past of a worker could not be written\n{done.stderr[-1500:]}")


# -- pages


@dataclass(slots=True)
class _Heard:
    size: int = 0
    failure: str = ""


class Pages:
    """So many pages that show *span*, none if it is None; each has read its first snapshot inside `with`."""

    def __init__(self, url: str, span: str | None) -> None:
        self._host, self._span = url.removeprefix("http://"), span
        self._heard: list[_Heard] = []
        self._open: list[tuple[http.client.HTTPConnection, http.client.HTTPResponse, threading.Thread]] = []
        self._closing = False

    def __enter__(self) -> Self:
        for _ in range(0 if self._span is None else PAGES):
            self._add()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        for connection, response, thread in self._open:
            if connection.sock is not None:
                connection.sock.close()
            response.close()
            thread.join(OPEN_SECS)

    @property
    def received(self) -> int:
        """The bytes that all pages have received until now."""
        return sum(heard.size for heard in self._heard)

    def check(self) -> None:
        """
        Check that all pages are still told.

        Raises:
            Failure: a stream has ended.
        """
        if failed := [heard.failure for heard in self._heard if heard.failure]:
            raise Failure(f"{len(failed)} of {PAGES} pages: {failed[0]}")

    def _add(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=30)
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, deflate, br", "Cache-Control": "no-cache"}
        try:
            connection.request("GET", f"/events?range={self._span}", headers=headers)
            response = connection.getresponse()
            first = _first(response)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise Failure(f"a page cannot be opened: {error!r}") from error
        shown = len(first["range"]["rules"]), len(first["state"]["connectors"]["posts"]["gaps"])
        if shown != (RULES, GAPS):
            raise Failure(f"a page shows {shown[0]} rules and {shown[1]} gaps, not {RULES} and {GAPS}")
        heard = _Heard()
        thread = threading.Thread(target=self._read, args=(response, heard), daemon=True)
        self._heard.append(heard)
        self._open.append((connection, response, thread))
        thread.start()

    def _read(self, response: http.client.HTTPResponse, heard: _Heard) -> None:
        try:
            while piece := response.read1(65_536):
                heard.size += len(piece)
            heard.failure = "the worker has ended the stream"
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if not self._closing:
                heard.failure = repr(error)


def _first(response: http.client.HTTPResponse) -> dict[str, Any]:
    """Return the first snapshot of a stream."""
    if response.status != http.client.OK:
        raise Failure(f"/events answers {response.status}: {response.read(500)!r}")
    while line := response.readline():
        if line.startswith(b"data: "):
            found: dict[str, Any] = orjson.loads(line.removeprefix(b"data: "))
            return found
    raise Failure("/events ended before its first snapshot")
