"""The report: tables, the facts about the machine, and the page that holds both."""

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

from benchmarks.rig import Failure, Window
from benchmarks.tables import NOTHING, Text, grid
from tests.brokers import JARS

HEAD = ("", "posts/s", "spread", "CPU s/M posts", "spread", "peak MB", "spread")


class Failures:
    """The failures, and how often each happened."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], int] = {}

    def add(self, name: str, failure: Failure) -> None:
        failed = name, first_line(failure)
        self._failed[failed] = self._failed.get(failed, 0) + 1

    @property
    def said(self) -> list[Text]:
        """The failures as a Markdown list; empty without failures."""
        lines = [f"- Not measured: {name}, {count} x: {why}" for (name, why), count in self._failed.items()]
        return ["\n".join(lines)] if lines else []


class Results:
    """Windows by name and round; a round that failed has a line in *failures* instead."""

    def __init__(self) -> None:
        self.windows: dict[str, dict[int, Window]] = {}
        self._failures = Failures()

    def add(self, name: str, number: int, outcome: Window | Failure) -> None:
        """Keep the *outcome* of *name* in round *number*."""
        rounds = self.windows.setdefault(name, {})
        if isinstance(outcome, Window):
            rounds[number] = outcome
        else:
            self._failures.add(name, outcome)

    def in_order(self, names: Iterable[str]) -> Mapping[str, Mapping[int, Window]]:
        """Return the windows by name, in the order of *names*."""
        return {name: self.windows.get(name, {}) for name in names}

    @property
    def failures(self) -> list[Text]:
        """The failures as a Markdown list; empty without failures."""
        return self._failures.said


def first_line(error: BaseException) -> str:
    """Return the first line of *error*'s message, without the log of a process."""
    return str(error).partition("\n")[0] or type(error).__name__


def say(text: str) -> None:
    """Show *text* to the user at once."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def table(results: Mapping[str, Mapping[int, Window]], baselines: Sequence[str]) -> Text:
    """
    Return a table of medians and ranges, with the ratio of the rates to each of *baselines*.

    A ratio is the median of the rounds' ratios: in a round both sides were measured within minutes.
    """
    baselines = [name for name in baselines if results.get(name)]
    rows = [(*HEAD, *(f"x {name}" for name in baselines), *(f"CPU x {name}" for name in baselines))]
    for name, windows in results.items():
        if not windows:
            rows.append((name, *[NOTHING] * (len(rows[0]) - 1)))
            continue
        rows.append(
            (
                name,
                *_middle([window.posts_per_sec for window in windows.values()], ",.0f"),
                *_middle([window.cpu_us_per_post for window in windows.values()], ".1f"),
                *_middle([window.peak_rss_bytes / 1e6 for window in windows.values()], ",.0f"),
                *(_ratio(windows, results[baseline], "posts_per_sec") for baseline in baselines),
                *(_ratio(windows, results[baseline], "cpu_us_per_post") for baseline in baselines),
            )
        )
    return grid(rows)


def _middle(values: Sequence[float], style: str) -> tuple[str, str]:
    return f"{statistics.median(values):{style}}", f"{min(values):{style}}-{max(values):{style}}"


def _ratio(windows: Mapping[int, Window], baseline: Mapping[int, Window], what: str) -> str:
    both = windows.keys() & baseline.keys()
    if not both:
        return NOTHING
    return f"{statistics.median(getattr(windows[n], what) / getattr(baseline[n], what) for n in both):.2f}"


def machine() -> Text:
    """Return the machine and the versions that the numbers depend on, as a Markdown list."""
    packages = ("aiokafka", "faust-streaming", "tweepy", "confluent-kafka", "kafka-python")
    kafka = next(iter(JARS.glob("kafka_2.13-*.jar"))).stem.removeprefix("kafka_2.13-")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True)  # noqa: S607
    facts = {
        "Machine": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, {_memory_gb():.0f} GB",
        "System": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "Python": platform.python_version(),
        "Packages": ", ".join(f"{name} {version(name)}" for name in packages)
        + f" (librdkafka {confluent_kafka.libversion()[0]})",
        "Kafka and Connect": f"{kafka}, one broker, {java.stderr.splitlines()[0]}",
        "Load before the run": f"{os.getloadavg()[0]:.1f}{neighbours()}",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def neighbours() -> str:
    """Return a warning if other processes use the machine."""
    if os.getloadavg()[0] < len(os.sched_getaffinity(0)) / 4:
        return ""
    return ": others used the machine, so compare ratios only"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def write(page: Path, name: str, text: Text) -> None:
    """
    Put *text* between the markers of *name* in *page*.

    Raises:
        ValueError: *page* has no such markers.
    """
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of {name} -->"
    before = page.read_text()
    after, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n\n{end}", before, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{page} has no place for {name}: it needs the lines {begin} and {end}")
    page.write_text(after)
