"""
The loggers of the process, and their levels under the names that Kafka Connect has for them.

TRACE is below DEBUG; WARN and FATAL are Python's WARNING and CRITICAL.
"""

import logging
import time
from collections.abc import Callable, Mapping

LEVELS: dict[str, int] = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
"""Names of levels, from the lowest to the highest."""

SYNONYMS: Mapping[str, str] = {"WARNING": "WARN", "CRITICAL": "FATAL"}
ROOT = "root"
LOGGERS_MAX = 2_000
"""So many loggers may exist: a logger that was made by a request stays until the process ends."""

NAME_CHARACTERS_MAX = 200


class UnfitName(ValueError):
    """No logger can have that name."""


class TooManyLoggers(ValueError):
    """There are `LOGGERS_MAX` loggers."""


class Loggers:
    """Shows and sets the levels of the loggers; *clock* returns milliseconds since 1970."""

    def __init__(self, clock: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self._clock = clock
        self._modified: dict[str, int] = {}

    def names(self) -> list[str]:
        """Return the names of all loggers that exist, `root` among them."""
        known = logging.root.manager.loggerDict
        return sorted({ROOT, *(name for name, logger in known.items() if isinstance(logger, logging.Logger))})

    def level(self, name: str) -> str | None:
        """Return the name of the level of logger *name*; None for a logger that does not exist."""
        logger = self._logger(name)
        return None if logger is None else _name_of(logger.getEffectiveLevel())

    def modified_ms(self, name: str) -> int | None:
        """Return when `set_level` changed the level of logger *name* (UNIX milliseconds); None if it did not."""
        return self._modified.get(name)

    def set_level(self, name: str, level: str) -> list[str]:
        """
        Set the level of logger *name*, which is made if need be, and of the loggers below it; return their names.

        Raises:
            LookupError: there is no such level.
            UnfitName: no logger can have that name.
            TooManyLoggers: it would have to be made, and there are too many.
        """
        number = LEVELS.get(SYNONYMS.get(level.upper(), level.upper()))
        if number is None:
            raise LookupError(level)
        if self._logger(name) is None:
            self._check_new(name)
            logging.getLogger(name)
        changed = [each for each in self.names() if name in {ROOT, each} or each.startswith(f"{name}.")]
        for each in changed:
            (logging.root if each == ROOT else logging.getLogger(each)).setLevel(number)
            self._modified[each] = self._clock()
        return changed

    def _logger(self, name: str) -> logging.Logger | None:
        if name == ROOT:
            return logging.root
        found = logging.root.manager.loggerDict.get(name)
        return found if isinstance(found, logging.Logger) else None

    def _check_new(self, name: str) -> None:
        if not (name.isascii() and name.isprintable()) or not 0 < len(name) <= NAME_CHARACTERS_MAX:
            raise UnfitName(f"The name of a logger has 1 to {NAME_CHARACTERS_MAX} printable ASCII characters")
        if len(logging.root.manager.loggerDict) >= LOGGERS_MAX:
            raise TooManyLoggers(
                f"There are {LOGGERS_MAX} loggers: restart the worker to forget those that nothing uses"
            )


def _name_of(number: int) -> str:
    """Return the name of the highest level that is not above *number*."""
    return next((name for name in reversed(LEVELS) if LEVELS[name] <= number), "TRACE")
