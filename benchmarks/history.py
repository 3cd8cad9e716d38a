"""
What the history costs: for each batch, for each minute, for each look at the page, and to read the past at a start.

    python -m benchmarks.history
"""

import argparse
import sys
import time
from statistics import median

from connector.history.fold import History
from connector.history.ranges import RANGES
from connector.history.recorder import Recorder
from connector.history.records import Counts, Minute, decode, encode
from connector.records.record import TaskId
from connector.telemetry.events.task import BatchDelivered
from connector.telemetry.logs import Emitter
from connector.telemetry.metrics import Metrics

ROUNDS = 7
BATCHES = 20_000
CONNECTORS, RULES, DAY_MINUTES = 100, 10, 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for arrivals in (1, 8):
        without, with_it = _batches(arrivals)
        line = f"a batch of {arrivals} arrivals: {without:.2f} us without, {with_it:.2f} us with the history"
        print(
            f"{line}: +{with_it - without:.2f} us;"
            f" at 250 batches a second {250 * (with_it - without) / 10_000:.3f} % of a core"
        )
    record = _minute(0)
    value = encode(record)
    print(f"a minute of {CONNECTORS} connectors with {RULES} rules each: {len(value):,} bytes")
    print(f"    to encode {_time(lambda: encode(record)):.2f} ms, to read {_time(lambda: decode(value)):.2f} ms")
    history, secs = _filled()
    print(f"a start that reads a day of them: {secs:.1f} s of CPU, beside all else")
    for span in RANGES.values():
        now = time.time()
        points = _time(lambda span=span, now=now: history.series(span, now))
        rules = _time(lambda span=span, now=now: [history.rules(span, now, f"c{each}") for each in range(CONNECTORS)])
        print(f"{span.name}: points {points:.1f} ms, {CONNECTORS * RULES:,} rules {rules:.1f} ms, once a minute")


def _batches(arrivals: int) -> tuple[float, float]:
    """Return the time that the report of a batch takes (us), without and with the history, side by side."""
    event = BatchDelivered(of=TaskId("posts", 0), posts=arrivals, waits=((0.03, 2.0, 1),) * arrivals, usd=0.005)
    emitters = (Emitter(Metrics()), Emitter(Metrics(), Recorder().take))
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for emit, times in zip(emitters, found, strict=True):
            begun = time.perf_counter()
            for _ in range(BATCHES):
                emit(event)
            times.append((time.perf_counter() - begun) / BATCHES * 1e6)
    return median(found[0]), median(found[1])


def _minute(number: int, begin: int = 0) -> Minute:
    rules = {f"rule-{each}": (100 + each, 50) for each in range(RULES)}
    counts = Counts(
        received=1000, delivered=990, mills=5000, timed=990, age=(1500, 4000), delivery=(30, 60), rules=rules
    )
    connectors = {f"c{each}": counts for each in range(CONNECTORS)}
    return Minute(process="p", number=number, at=begin + 60 * number, worker="w:1", connectors=connectors)


def _filled() -> tuple[History, float]:
    now = int(time.time()) // 60 * 60
    history, begin = History(now), now - 60 * DAY_MINUTES
    values = [encode(_minute(number, begin)) for number in range(DAY_MINUTES)]
    begun = time.process_time()
    for offset, value in enumerate(values):
        history.apply(decode(value), offset)
    return history, time.process_time() - begun


def _time(work) -> float:
    """Return how long *work* takes (ms)."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return median(times)


if __name__ == "__main__":
    sys.exit(main())
