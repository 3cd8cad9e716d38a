"""What happens to posts on their way: delays, duplicates, hostile lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from connector.simulator.posts.rendering import HOSTILITIES

if TYPE_CHECKING:
    import random

    from connector.simulator.posts.rendering import Hostility
    from connector.simulator.settings import SimulatorSettings

LAG_SPREAD = 0.1622
"""Sigma of the logarithm of the lag: with a median of 4.8 s, 99 % of the lags are below 7 s."""


@dataclass(slots=True, kw_only=True)
class Disorder:
    """The settings of disorder, which faults change while posts flow."""

    rng: random.Random
    duplicate_every: int = 0
    out_of_order_s: float = 0
    lag: Literal["none", "realistic"] = "none"
    lag_s: float = 4.8
    hostile: list[str] = field(default_factory=list)
    """The names of the hostilities of the next posts."""
    always_hostile: bool = False

    @classmethod
    def of(cls, settings: SimulatorSettings, rng: random.Random) -> Disorder:
        return cls(
            rng=rng,
            duplicate_every=settings.duplicate_every,
            out_of_order_s=settings.out_of_order_s,
            lag=settings.delivery_lag,
            lag_s=settings.delivery_lag_s,
            always_hostile=settings.hostile,
        )

    def delay(self) -> float:
        """Return the delay of the next post, in seconds."""
        lag = self.rng.lognormvariate(math.log(self.lag_s), LAG_SPREAD) if self.lag == "realistic" else 0.0
        late = self.out_of_order_s
        return lag + (self.rng.uniform(0, late) if late else 0.0)

    def next_hostility(self) -> Hostility | None:
        """Return the change that makes the next line hostile; none for an ordinary line."""
        if self.hostile:
            return HOSTILITIES[self.hostile.pop(0)]
        if self.always_hostile:
            return HOSTILITIES[self.rng.choice(list(HOSTILITIES))]
        return None

    def clear(self) -> None:
        """End the disorder of faults; the lag stays."""
        self.hostile.clear()
        self.duplicate_every = 0
        self.out_of_order_s = 0
