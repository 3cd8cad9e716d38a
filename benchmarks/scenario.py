"""A scenario, and how long it runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.revisions import Version
from benchmarks.rig import Rig
from benchmarks.tables import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long a scenario runs: *seconds* is the length of a window, *warmup* the time before it, in seconds."""

    rounds: int
    seconds: float
    warmup: float
    minutes: float = 0.0
    """Length of the parts that watch something over time."""
    connect_rounds: int | None = None
    """Number of rounds with Kafka Connect, which is slow to start; all rounds if None."""
    only: Sequence[str] = field(default=())
    """The parts of the scenario to run; all parts if empty."""
    versions: Sequence[Version] = field(default=())
    """The versions, if the scenario compares two."""

    def __str__(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        watched = f", memory watched for {self.minutes:g} min" if self.minutes else ""
        if self.connect_rounds is not None:
            rounds += f" ({self.connect_rounds} with Kafka Connect)"
        return f"{rounds}, windows of {self.seconds:g} s after {self.warmup:g} s{watched}"

    def wants(self, part: str) -> bool:
        """Return whether *part* is to be run."""
        return not self.only or part in self.only

    def changed(self, **given: object) -> "Effort":
        """Return a copy with those values of *given* that are not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario; *run* yields the texts of its report in Markdown."""

    name: str
    title: str
    run: Callable[[Rig, Effort], Iterator[Text]]
    effort: Effort
    about: str
    """How long the scenario takes, for the help."""
