"""The subcommand `estimate`: posts and dollars a day and a month, by X's counts."""

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from connector.cli.connectors.printable import printable
from connector.cli.connectors.setup import say
from connector.cli.rules.measured import REQUESTS, Measured
from connector.cli.rules.shown import text
from connector.cli.times import UNIT_MS
from connector.config.connector import ConnectorConfig
from connector.config.rules import Rule
from connector.coverage.spend import DAY_MS, MILLS
from connector.records.snowflake import to_iso
from connector.sources.archive.counts import MINUTE_MS, REQUEST_MILLS, Counting, Patience
from connector.sources.archive.estimates import (
    MONTH_DAYS,
    QUOTES,
    RETWEETS,
    Bounds,
    Estimate,
    ask,
    questions,
    with_uncounted,
)
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.rest.api import Api
from connector.worker.tasks import budget_of

REACH_MS = 7 * DAY_MS
"""X counts this far back."""

GRACE_MS = MINUTE_MS
"""X may not have counted younger posts yet, and posts that are near the limit leave its reach meanwhile."""

UNCOUNTED_MAX = 10_000
MEASURED = "measured"

_SPAN = re.compile(r"(\d{1,5})([mhd])")
_CURES = {RETWEETS: "-is:retweet", QUOTES: "-is:quote"}

OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--over",
        metavar="TIME",
        default="7d",
        show_default=True,
        help="The time up to now whose posts are counted: 7d at most, 12h, 30m.",
    ),
    click.option(
        "--uncounted",
        metavar="PERCENT|measured",
        default="0",
        help="Add this many posts for 100 that are counted: retweets and quotes, which X does not count. measured: as"
        " many as the rules of the running connector have lately brought.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask whether it may cost what it costs."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options: the time to count (ms), what to add for what X does not count, and whether the cost is accepted."""

    over_ms: int
    uncounted: float | None
    """None: measure it."""
    yes: bool


def read(options: Mapping[str, Any]) -> Given:
    """
    Read the options of the command.

    Raises:
        click.UsageError: --over is no time that X counts, or --uncounted no percentage.
    """
    span = _SPAN.fullmatch(options["over"].strip())
    over_ms = int(span[1]) * UNIT_MS[span[2]] if span else 0
    if not MINUTE_MS <= over_ms <= REACH_MS:
        raise click.UsageError(f"--over cannot be {options['over']!r}: write 1m to 7d, such as 7d, 12h or 30m.")
    return Given(over_ms=over_ms, uncounted=_percent(options["uncounted"]), yes=options["yes"])


def _percent(text: str) -> float | None:
    if text.strip() == MEASURED:
        return None
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1
    if not 0 <= percent <= UNCOUNTED_MAX:
        raise click.UsageError(f"--uncounted cannot be {text!r}: write a percentage such as 45, or {MEASURED}.")
    return percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result: the *estimate* of the time from *from_ms* to *to_ms* (UNIX ms), after *requests* to X."""

    estimate: Estimate
    from_ms: int
    to_ms: int
    requests: int
    uncounted: float
    measured: Measured | None = None
    budget_mills: int | None = None
    """The budget of the connector for a month, in thousandths of a dollar."""

    def fields(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        found = self.estimate
        return {
            "from": to_iso(self.from_ms),
            "to": to_iso(self.to_ms),
            "usd_each": found.mills_each / MILLS if found.mills_each else None,
            "uncounted_percent": round(self.uncounted, 2),
            "measured": None if self.measured is None else self._measurement(self.measured),
            "rules": [
                {"rule": each.rule.value, "tag": each.rule.label, **self._bounds(each.posts), "misses": [*each.misses]}
                for each in found.rules
            ],
            "overlap": self._bounds(found.overlap),
            "together": self._bounds(found.together),
            "left_out": [{"rule": each.rule.value, "reason": each.reason} for each in found.left_out],
            "requests": self.requests,
            "cost_usd": self.requests * REQUEST_MILLS / MILLS if found.mills_each else None,
        }

    def _measurement(self, measured: Measured) -> dict[str, Any]:
        heard = measured.heard
        return {
            "from": to_iso(heard.from_ms),
            "to": to_iso(heard.to_ms),
            "posts": heard.posts,
            "counted": measured.counted,
        }

    def _bounds(self, posts: Bounds) -> dict[str, Any]:
        found = self.estimate
        priced = {
            "usd_per_day": [round(found.usd_a_day(end), 4) for end in (posts.low, posts.high)],
            "usd_per_month": [round(found.usd_a_month(end), 2) for end in (posts.low, posts.high)],
        }
        return {
            "posts_per_day": [round(found.posts_a_day(end), 2) for end in (posts.low, posts.high)],
            **(priced if found.mills_each else {}),
            "exact": posts.are_exact,
        }

    def show(self, console: Console) -> None:
        """Print the report for people."""
        found = self.estimate
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("rule", overflow="fold")
        for column in ("posts a day", "USD a day", "USD a month") if found.mills_each else ("posts a day",):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("not counted", overflow="fold")
        for each in found.rules:
            table.add_row(text(each.rule.value), *self._cells(each.posts), ", ".join(each.misses))
        if len(found.rules) > 1:
            table.add_row("[dim]less what they share[/dim]", *self._cells(found.overlap))
            table.add_row("[bold]in all[/bold]", *self._cells(found.together), style="bold")
        if found.rules:
            console.print(table)
        for sentence in self._sentences():
            console.print(sentence, soft_wrap=True, markup=False)

    def _cells(self, posts: Bounds) -> list[str]:
        found = self.estimate
        cells = [_range(posts, lambda end: f"{found.posts_a_day(end):,.0f}")]
        if found.mills_each:
            cells.append(_range(posts, lambda end: f"{found.usd_a_day(end):,.2f}"))
            cells.append(_range(posts, lambda end: f"{found.usd_a_month(end):,.2f}"))
        return cells

    def _sentences(self) -> list[str]:
        found = self.estimate
        span = f"from {_minute(self.from_ms)} to {_minute(self.to_ms)}"
        said = [f"By X's counts {span}; a month has {MONTH_DAYS} days. {self._cost}"]
        if not found.together.are_exact:
            said.append(
                "The rules are too long for one query: what they cost together lies between the two numbers; plan with"
                " the higher."
            )
        if found.misses and (self.uncounted or self.measured):
            said.append(f"{self.uncounted:.3g} % were added for what X does not count ({', '.join(found.misses)}).")
            said += [] if self.measured is None else [_told(self.measured)]
        elif found.misses:
            cures = " ".join(_CURES[missed] for missed in found.misses)
            said.append(
                f"At least that much: a stream also delivers {' and '.join(found.misses)}, which X does not count for"
                f" these rules. Add {cures} to a rule to go without them, or say by --uncounted how many come for 100"
                " posts; --uncounted measured asks the running connector."
            )
        said += [f"Not counted: {printable(each.rule.value)} ({each.reason})." for each in found.left_out]
        return [*said, *self._budget()]

    @property
    def _cost(self) -> str:
        asked = f"Asked of X: {_requests(self.requests)}"
        return f"{asked}, ${self.requests * REQUEST_MILLS / MILLS:.3f}." if self.estimate.mills_each else f"{asked}."

    def _budget(self) -> list[str]:
        mills = self.estimate.usd_a_day(self.estimate.together.high) * MILLS
        if self.budget_mills is None or not mills:
            return []
        days = self.budget_mills / mills
        dollars = f"budget.usd.per.month is ${self.budget_mills / MILLS:,.2f}"
        if days >= MONTH_DAYS:
            return [f"{dollars}, which is enough{'' if self.uncounted or not self.estimate.misses else ' for these'}."]
        return [f"{dollars}, which is used up after {days:.1f} days: narrow the rules, or raise it."]


def run(
    api: Api,
    config: ConnectorConfig,
    rules: Sequence[Rule],
    given: Given,
    measure: Callable[[Counting, Callable[[], None]], Measured],
) -> Report | None:
    """
    Let X count *rules*; None if the cost was not confirmed.  *measure* is called if what X does not count is measured.

    Raises:
        ConnectorError: X refuses, or cannot be reached.
        Exception: what *measure* raises.
    """
    asked = questions(rules, QUERY_CHARACTERS[config.plan])
    budget = budget_of(config)
    requests = len(asked.queries) + (REQUESTS if given.uncounted is None else 0)
    if requests and not _confirmed(requests, requests * REQUEST_MILLS if budget.mills_each else None, given):
        return None
    now_ms = int(time.time() * 1000)
    from_ms, to_ms = period(now_ms, given.over_ms)
    with _progress() as progress:
        bar = progress.add_task("X counts", total=requests)
        counting = Counting(api, Patience(say))
        measured = None if given.uncounted is not None else measure(counting, lambda: progress.advance(bar))
        uncounted = given.uncounted if measured is None else measured.percent
        found = ask(
            counting,
            asked,
            from_ms=from_ms,
            to_ms=to_ms,
            mills_each=budget.mills_each,
            answered=lambda: progress.advance(bar),
        )
    return Report(
        estimate=with_uncounted(found, uncounted or 0),
        from_ms=from_ms,
        to_ms=to_ms,
        requests=counting.requests,
        uncounted=uncounted or 0,
        measured=measured,
        budget_mills=budget.mills_per_month,
    )


def period(now_ms: int, over_ms: int) -> tuple[int, int]:
    """Return the begin and the end of the *over_ms* before *now_ms* that X counts, in whole minutes (UNIX ms)."""
    to_ms = _minute_of(now_ms - GRACE_MS)
    return max(to_ms - over_ms, _minute_of(now_ms - REACH_MS) + GRACE_MS + MINUTE_MS), to_ms


def _told(measured: Measured) -> str:
    heard = measured.heard
    return (
        f"That was measured: from {_minute(heard.from_ms)} to {_minute(heard.to_ms)} {heard.posts:,} posts came for the"
        f" rules of the connector, of which X counts {measured.counted:,}."
    )


def _confirmed(requests: int, mills: int | None, given: Given) -> bool:
    price = ", by your contract" if mills is None else f", ${mills / MILLS:.3f}"
    say(f"{_requests(requests)}{price}.")
    if given.yes:
        return True
    if sys.stdin.isatty() and sys.stderr.isatty():
        return click.confirm("Go on?", err=True)
    say("Nothing was asked of X: without a terminal, --yes says that it may cost that.")
    return False


def _progress() -> Progress:
    """Return a bar on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _range(posts: Bounds, shown: Callable[[int], str]) -> str:
    low, high = shown(posts.low), shown(posts.high)
    return low if low == high else f"{low} to {high}"


def _requests(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'} of counts"


def _minute_of(ms: int) -> int:
    return ms - ms % MINUTE_MS


def _minute(ms: int) -> str:
    return to_iso(ms)[:16] + "Z"
