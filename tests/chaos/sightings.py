"""What /coverage said of each connector all the time: the claim."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests import topics
from tests.workers import Worker, wait_for

WATCH_SECS = 0.2

GAP_FIELDS = {"from", "to", "reason", "state", "detail", "posts", "cost_usd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A gap as /coverage shows it; UNIX milliseconds of creation."""

    from_ms: int
    to_ms: int
    reason: str
    state: str
    detail: str | None
    posts: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        if missing := GAP_FIELDS - fields.keys():
            raise ValueError(f"a gap of /coverage has no {', '.join(sorted(missing))}: {fields}")
        return cls(
            from_ms=topics.iso_ms(fields["from"]),
            to_ms=topics.iso_ms(fields["to"]),
            reason=fields["reason"],
            state=fields["state"],
            detail=fields["detail"],
            posts=fields["posts"] or 0,
        )

    def __contains__(self, ms: int) -> bool:
        return self.from_ms <= ms <= self.to_ms

    def __str__(self) -> str:
        return f"[{topics.ms_iso(self.from_ms)}, {topics.ms_iso(self.to_ms)}] {self.state}, {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one worker said of the connector's coverage at one time (UNIX seconds)."""

    at: float
    worker: str
    covered_from_ms: int
    covered_to_ms: int
    gaps: tuple[Gap, ...]
    repaired: tuple[Gap, ...]


@dataclass(slots=True, kw_only=True)
class Shown:
    """All that was shown of one gap; times in UNIX seconds."""

    gap: Gap
    """As long as it got."""
    first_at: float
    open_at: list[float] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    """Who showed it."""
    reasons: set[str] = field(default_factory=set)
    as_gap: bool = False
    """It was among the gaps, not only among those repaired."""
    repaired_at: float | None = None


class Told:
    """What was ever said of one connector; to be read when the watch is over."""

    def __init__(self) -> None:
        self.shown: dict[int, Shown] = {}
        """Each gap by its begin."""
        self.begins: set[int] = set()
        """What was said to be the begin of coverage."""
        self.taken_back: list[Gap] = []
        """Gaps in time that the same worker had said to be covered before."""
        self.latest: Sighting | None = None
        self._claims: dict[str, int] = {}

    def keep(self, seen: Sighting) -> None:
        """Take note of *seen*."""
        self.begins.add(seen.covered_from_ms)
        claimed_ms = self._claims.get(seen.worker, seen.covered_from_ms)
        for gap in (*seen.gaps, *seen.repaired):
            known = any(gap.from_ms in one.gap for one in self.shown.values())
            if not known and gap.from_ms < claimed_ms:
                self.taken_back.append(gap)
            shown = self.shown.setdefault(gap.from_ms, Shown(gap=gap, first_at=seen.at))
            shown.workers.add(seen.worker)
            shown.reasons.add(gap.reason)
            if gap.to_ms >= shown.gap.to_ms:
                shown.gap = gap
        for gap in seen.gaps:
            self.shown[gap.from_ms].as_gap = True
            if gap.state == "open":
                self.shown[gap.from_ms].open_at.append(seen.at)
        for gap in seen.repaired:
            shown = self.shown[gap.from_ms]
            shown.repaired_at = shown.repaired_at or seen.at
        self._claims[seen.worker] = max(claimed_ms, seen.covered_to_ms)
        self.latest = seen


class Watch:
    """Asks each worker alive for /coverage, again and again, in a thread of its own; keeps what they say of *names*."""

    def __init__(self, alive: Callable[[], Sequence[Worker]], *names: str) -> None:
        self.told = {name: Told() for name in names}
        self._alive = alive
        self._answer = "nobody was asked"
        self._failure: ValueError | KeyError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def latest(self, name: str) -> Sighting | None:
        """Return what was said of *name* last."""
        if self._failure is not None:
            raise AssertionError(f"/coverage: {self._failure}") from self._failure
        return self.told[name].latest

    def wait(self, name: str, condition: Callable[[Sighting], bool], secs: float) -> tuple[Sighting, str | None]:
        """Return the first sighting from now on of which *condition* holds, or the last one and a complaint."""
        since = time.time()

        def found() -> Sighting | None:
            seen = self.latest(name)
            return seen if seen is not None and seen.at > since and condition(seen) else None

        try:
            return wait_for(found, f"coverage of {name} to the end", secs), None
        except AssertionError as error:
            if (seen := self.latest(name)) is None:
                raise AssertionError(f"Nobody tells the coverage of {name}: {self._answer[:500]}") from None
            return seen, f"{error}: {self._answer[:2000]}"

    def _run(self) -> None:
        while not self._over.wait(WATCH_SECS):
            for worker in self._alive():
                try:
                    self._ask(worker)
                except (ValueError, KeyError) as error:
                    self._failure = error
                    return

    def _ask(self, worker: Worker) -> None:
        try:
            with urlopen(f"http://127.0.0.1:{worker.port}/coverage", timeout=2) as response:
                body = json.load(response)
        except HTTPError as error:
            with error:
                self._answer = f"{worker.name} answers {error.code}"
            return
        except (URLError, OSError) as error:
            self._answer = f"{worker.name}: {error}"
            return
        self._answer = f"{worker.name} answers {body}"
        for entry in body["connectors"]:
            if entry["name"] in self.told and entry["covered_from"] and entry["covered_to"]:
                self.told[entry["name"]].keep(
                    Sighting(
                        at=time.time(),
                        worker=worker.name,
                        covered_from_ms=topics.iso_ms(entry["covered_from"]),
                        covered_to_ms=topics.iso_ms(entry["covered_to"]),
                        gaps=tuple(map(Gap.of, entry["gaps"])),
                        repaired=tuple(map(Gap.of, entry["repaired"])),
                    )
                )
