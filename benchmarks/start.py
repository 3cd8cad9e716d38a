"""
How long does a worker take from its start to `worker.ready`, where the group's topics exist?

    python -m benchmarks.start

It starts Kafka and the simulator, a worker once to make the topics, and then measures some starts, one after another.
"""

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from connector.simulator import SimulatorSettings, SimulatorThread
from tests.brokers import KafkaBroker
from tests.workers import Worker, Workers, environment

STARTS = 7
STEPS = ("worker.starting", "kafka.connected", "tasks.assigned", "stream.connected", "worker.ready")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=STARTS)
    starts = parser.parse_args().starts
    # Images of Python set this; each start would then compile the connector anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaBroker(Path(folder) / "kafka") as broker,
        SimulatorThread(SimulatorSettings(rate=10)) as simulator,
    ):
        workers = Workers(Path(folder))
        settings = environment(broker, simulator.url, "start")
        try:
            found = [_start(workers, settings) for _ in range(starts + 1)][1:]  # the first one makes the topics
        finally:
            workers.close()
    for step in STEPS:
        secs = sorted(each[step] for each in found)
        print(f"{step:<17} {median(secs):5.2f} s ({secs[0]:.2f} to {secs[-1]:.2f})")
    cpu = sorted(each["cpu"] for each in found)
    print(f"CPU of the worker {median(cpu):5.2f} s ({cpu[0]:.2f} to {cpu[-1]:.2f})")


def _start(workers: Workers, settings: dict[str, str]) -> dict[str, float]:
    begun = time.time()
    worker = workers.start(settings)
    worker.wait_event("worker.ready")
    found = {step: _at(worker, step) - begun for step in STEPS}
    found["cpu"] = _cpu_secs(worker._process.pid)  # noqa: SLF001
    if worker.stop():
        sys.exit(f"The worker ended with an error:\n{worker.log[-2000:]}")
    return found


def _cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def _at(worker: Worker, event: str) -> float:
    told = worker.wait_event(event)["timestamp"]
    return dt.datetime.fromisoformat(told).timestamp()


if __name__ == "__main__":
    main()
