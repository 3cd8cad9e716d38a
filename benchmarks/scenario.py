"""What is run for how long: the table of scenarios."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.revisions import Version
from benchmarks.rig import Rig
from benchmarks.tables import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much time a scenario takes: *seconds* is the length of a window, *warmup* what goes before it."""

    rounds: int
    seconds: float
    warmup: float
    minutes: float = 0.0
    """For what is watched over time."""
    connect_rounds: int | None = None
    """Rounds in which Kafka Connect, slow to start, takes part; all, if None."""
    only: Sequence[str] = field(default=())
    """The parts of the scenario to run; empty for all."""
    versions: Sequence[Version] = field(default=())
    """What is compared, where two versions are."""

    def __str__(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        watched = f", memory watched for {self.minutes:g} min" if self.minutes else ""
        if self.connect_rounds is not None:
            rounds += f" ({self.connect_rounds} with Kafka Connect)"
        return f"{rounds}, windows of {self.seconds:g} s after {self.warmup:g} s{watched}"

    def wants(self, part: str) -> bool:
        """Whether *part* is to be run."""
        return not self.only or part in self.only

    def changed(self, **given: object) -> "Effort":
        """The same, with what is *given* and not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """*run* yields texts in Markdown, one after the other."""

    name: str
    title: str
    run: Callable[[Rig, Effort], Iterator[Text]]
    effort: Effort
    about: str
    """How long it takes, for the help."""
