"""How the numbers are told: a table, and the machine they come from."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

from benchmarks.rig import Window
from tests.brokers import JARS

HEAD = ("", "posts/s", "spread", "CPU µs/post", "spread", "peak MB")


def table(results: Mapping[str, Sequence[Window]], baselines: Sequence[str]) -> str:
    """
    A Markdown table: medians, from-to, and for each of *baselines* the ratio of the rates.

    A ratio is the median of the rounds' ratios: both sides of each were measured within a minute or so.
    """
    baselines = [name for name in baselines if name in results]
    rows = [(*HEAD, *(f"x {name}" for name in baselines))]
    for name, windows in results.items():
        rates = [window.posts_per_sec for window in windows]
        costs = [window.cpu_us_per_post for window in windows]
        rows.append(
            (
                name,
                f"{statistics.median(rates):,.0f}",
                f"{min(rates):,.0f}-{max(rates):,.0f}",
                f"{statistics.median(costs):.1f}",
                f"{min(costs):.1f}-{max(costs):.1f}",
                f"{max(window.peak_rss_bytes for window in windows) / 1e6:,.0f}",
                *(f"{_ratio(windows, results[baseline]):.2f}" for baseline in baselines),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{cell:{'>' if number else '<'}{widths[number]}}" for number, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if number else "-") for number, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _ratio(windows: Sequence[Window], baseline: Sequence[Window]) -> float:
    pairs = zip(windows, baseline, strict=True)
    return statistics.median(ours.posts_per_sec / theirs.posts_per_sec for ours, theirs in pairs)


def machine() -> str:
    """What the numbers depend on, as a Markdown list."""
    packages = ("aiokafka", "faust-streaming", "tweepy", "confluent-kafka", "kafka-python")
    kafka = next(iter(JARS.glob("kafka_2.13-*.jar"))).stem.removeprefix("kafka_2.13-")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True)  # noqa: S607
    facts = {
        "Machine": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, {_memory_gb():.0f} GB",
        "System": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "Python": platform.python_version(),
        "Packages": ", ".join(f"{name} {version(name)}" for name in packages)
        + f" (librdkafka {confluent_kafka.libversion()[0]})",
        "Kafka": f"{kafka}, one broker, {java.stderr.splitlines()[0]}",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def neighbours() -> str | None:
    """A warning if somebody else uses the machine, or None."""
    load = os.getloadavg()[0]
    if load < len(os.sched_getaffinity(0)) / 4:
        return None
    return f"The load was {load:.1f} before the run began: others used the machine, so compare ratios only."


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
