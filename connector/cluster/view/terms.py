"""What a connector's configuration says that is shown beside its state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.coverage.spend import Budget

NO_PRICE = Budget(mills_each=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """*rules* are by label; with *known* False the configuration cannot be read on this worker."""

    stream: str | None = None
    topic: str | None = None
    delivery: str | None = None
    budget: Budget = NO_PRICE
    rules: Mapping[str, str] = field(default_factory=dict)
    known: bool = False
