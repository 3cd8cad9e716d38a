"""A time that a transform has made and that no transform has written yet: Connect's Date, Time and Timestamp."""

from dataclasses import dataclass
from typing import Literal

DAY_MS = 86_400_000
Form = Literal["Date", "Time", "Timestamp"]


@dataclass(frozen=True, slots=True)
class Moment:
    """*ms* since 1970 in UTC; *form* says how the time is written if no further transform reads it."""

    ms: int
    form: Form = "Timestamp"

    @property
    def number(self) -> int:
        """The number that Connect's JsonConverter writes: days of a Date, milliseconds of a Time or Timestamp."""
        return self.ms // DAY_MS if self.form == "Date" else self.ms
