"""The output of the demo: posts, sentences and a line of figures, which a terminal shows live at the bottom."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.text import Text

POSTS_PER_SEC_MAX = 2
"""Further posts in the same second are only counted: so many can be read."""

PLAIN_SUMMARY_SECS = 5.0
WINDOW_SECS = 3.0

SENTENCES: Mapping[str, str] = {
    "kafka.waiting": "Waiting for Kafka: {reason}",
    "stream.connected": "Connected to the stream.",
    "stream.disconnected": "Disconnected: {reason}",
    "stream.retry_scheduled": "The next attempt is in {wait_secs:g} s.",
    "gap.opened": "A gap of {seconds:g} s opened; the page shows it ({reason}).",
    "gap.repaired": "The gap is closed, by {way}: {posts} posts were missing.",
}
"""Sentences for events of the worker's log; other events are shown if their level is WARNING or higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The worker's metrics at one moment, or those of all workers that the demo has started."""

    at: float
    delivered: float
    reconnects: float
    age_sum_secs: float
    age_count: float

    @classmethod
    def of(cls, metrics: str, at: float) -> Self:
        """Read *metrics* in Prometheus' text format; *at* is their time (monotonic seconds)."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(metrics):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return cls(
            at=at,
            delivered=sums.get("connector_posts_delivered_total", 0),
            reconnects=sums.get("connector_reconnects_total", 0),
            age_sum_secs=sums.get("connector_post_age_seconds_sum", 0),
            age_count=sums.get("connector_post_age_seconds_count", 0),
        )

    def after(self, earlier: Self | None) -> Self:
        """Return these figures with those of the worker before, if there was one: each counts from nothing."""
        if earlier is None:
            return self
        return replace(
            self,
            delivered=self.delivered + earlier.delivered,
            reconnects=self.reconnects + earlier.reconnects,
            age_sum_secs=self.age_sum_secs + earlier.age_sum_secs,
            age_count=self.age_count + earlier.age_count,
        )


def summary(before: Figures, now: Figures, silent_secs: float) -> str:
    """Return the line of figures; the lag is the mean age of the latest posts, or *silent_secs* if none came."""
    rate = (now.delivered - before.delivered) / max(now.at - before.at, 0.001)
    posts = now.age_count - before.age_count
    lag = (now.age_sum_secs - before.age_sum_secs) / posts if posts else silent_secs
    return (
        f"{rate:.1f} posts/s   delivered {now.delivered:.0f}   reconnects {now.reconnects:.0f}"
        f"   lag {f'{lag * 1000:.0f} ms' if lag < 1 else f'{lag:.1f} s'}"
    )


def sentence(event: Mapping[str, Any]) -> str | None:
    """Return the text to show for an event of the worker's log; None to show nothing."""
    name = str(event.get("event"))
    if name in SENTENCES:
        return SENTENCES[name].format_map(event)
    shown = {"error", "critical"} if "logger" in event else {"warning", "error", "critical"}  # of libraries only errors
    # The demo asks for authors' names; the notice that X charges for them is of no use here.
    if event.get("level") not in shown or "CONNECTOR_EXPANSIONS" in str(event.get("notice")):
        return None
    fields = {key: value for key, value in event.items() if key not in {"timestamp", "level", "event", "exception"}}
    return " ".join([name, *(f"{key}={value}" for key, value in fields.items())])


class Screen:
    """The console of the demo; as a context manager it keeps the line of figures at the bottom of a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live = Live(console=self.console, refresh_per_second=4, transient=True) if self._terminal else None
        self._history: deque[Figures] = deque()
        self._said_figures = time.monotonic()
        self._second, self._shown, self._held = 0, 0, 0
        self._last_post = time.monotonic()

    @property
    def _terminal(self) -> bool:
        return self.console.is_terminal

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def post(self, line: str) -> None:
        """Show a post, or only count it after `POSTS_PER_SEC_MAX` in the same second."""
        now = time.monotonic()
        self._last_post = now
        if int(now) != self._second:
            if self._held:
                self._print(Text(f"      … and {self._held} more", style="dim"))
            self._second, self._shown, self._held = int(now), 0, 0
        if self._shown < POSTS_PER_SEC_MAX:
            self._shown += 1
            self._print(Text(line, style="cyan"), one_line=True)
        else:
            self._held += 1

    def say(self, text: str, style: str = "") -> None:
        """Show a text of the demo itself."""
        self._print(Text(text, style=style))

    def announce(self, text: str) -> None:
        """Show that something is about to happen."""
        self.say(f"\n>> {text}", "bold yellow")

    def worker_says(self, text: str) -> None:
        """Show a text from the worker's log."""
        self.say(f"   worker: {text}", "green")

    def figures(self, now: Figures) -> None:
        """Show the line of figures."""
        history = self._history
        history.append(now)
        while len(history) > 2 and now.at - history[1].at >= WINDOW_SECS:  # noqa: PLR2004  # a rate needs two
            history.popleft()
        line = summary(history[0], now, time.monotonic() - self._last_post)
        if self._live:
            self._live.update(Text(f" {line} ", style="reverse"))
        elif time.monotonic() - self._said_figures >= PLAIN_SUMMARY_SECS:
            self._said_figures = time.monotonic()
            self.say(f"-- {line}")

    def _print(self, text: Text, *, one_line: bool = False) -> None:
        if one_line and self._terminal:
            self.console.print(text, no_wrap=True, overflow="ellipsis")
        else:
            self.console.print(text, soft_wrap=True)  # a file gets whole lines
