"""
Finds topic settings that a broker with limits of its own accepts.

Hosted brokers refuse some settings of topics (`create.topic.policy.class.name`): a smaller segment, a larger record, a
setting that nobody may set, another replication factor than theirs.  Most error messages name the setting.  The
connector then asks for the next best value, and at last for none, so that the broker's default is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aiokafka.errors import InvalidConfigurationError, PolicyViolationError

from connector.telemetry.events.kafka import TopicsLimited

_NEXT_BEST = {
    "segment.bytes": 52_428_800,  # the least of Confluent Cloud: more to read at a start, and less than any default
    "max.message.bytes": 8_388_608,  # the most of Confluent Cloud
}
_KEPT = frozenset({"cleanup.policy"})
"""Settings that are never given up: another value would lose records of the topic."""

_LIMITS = frozenset({PolicyViolationError.errno, InvalidConfigurationError.errno})
"""
Kafka's numbers of the errors that mean a limit.

Too few brokers for the replication factor is not among them: fewer replicas than were asked for are less safe.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """The replication factor and the settings that the connector asks a broker for."""

    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Limited:
    """A topic that was created with other values than ours: the *changes*, and the broker's message as *reason*."""

    topic: str
    changes: tuple[str, ...]
    reason: str


class Ladder:
    """The values to ask for one after another, beginning with *first*; with *chosen* no setting is changed."""

    def __init__(self, first: Asked, *, chosen: bool) -> None:
        self._first, self._chosen = first, chosen

    def below(self, asked: Asked, code: int, words: str) -> Asked | None:
        """Return the next values to ask for after a refusal of *asked* with *code* and *words*; None at the end."""
        if code not in _LIMITS:
            return None
        if code == PolicyViolationError.errno and "replication" in words.lower() and asked.replication != -1:
            return replace(asked, replication=-1)
        if self._chosen:
            return None
        # a policy's message may name no setting: then any of them may be the refused one
        named = [setting for setting in asked.settings if setting in words and setting not in _KEPT]
        settings = dict(asked.settings)
        for setting in named or [setting for setting in settings if setting not in _KEPT]:
            value, ours = settings.pop(setting), self._first.settings[setting]
            best = _NEXT_BEST.get(setting)
            if best is not None and value == ours and int(ours) != best and _is_closer(setting, int(ours), best):
                settings[setting] = str(best)
        return None if settings == asked.settings else replace(asked, settings=settings)

    def changes(self, asked: Asked) -> tuple[str, ...]:
        """Return the differences between *asked* and the first values, as phrases."""
        found = []
        if asked.replication != self._first.replication:
            found.append(f"the broker's replication factor instead of {self._first.replication}")
        for setting, ours in self._first.settings.items():
            if asked.settings.get(setting) != ours:
                got = asked.settings.get(setting)
                found.append(
                    f"the broker's {setting} instead of {ours}" if got is None else f"{setting}={got} instead of {ours}"
                )
        return tuple(found)


def _is_closer(setting: str, ours: int, best: int) -> bool:
    return best > ours if setting == "segment.bytes" else best < ours


def told(limited: Sequence[Limited]) -> TopicsLimited:
    """Return one event that reports all *limited* topics."""
    changes = dict.fromkeys(f"{each.topic}: {', '.join(each.changes)}" for each in limited)
    return TopicsLimited(
        topics=tuple(each.topic for each in limited), settings="; ".join(changes), reason=limited[0].reason
    )
