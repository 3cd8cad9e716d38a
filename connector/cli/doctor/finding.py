"""What a check has found: a state, a sentence, and the cure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "could not be checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """*message* is a sentence; *cure* says what to do, empty if there is nothing to do; *facts* are for programs."""

    state: State
    message: str
    cure: str = ""
    facts: Mapping[str, object] = field(default_factory=dict, compare=False)


def ok(message: str, **facts: object) -> Finding:
    """Return that all is well."""
    return Finding(state=State.OK, message=message, facts=facts)


def warning(message: str, cure: str, **facts: object) -> Finding:
    """Return that a worker works, and something should be looked at."""
    return Finding(state=State.WARNING, message=message, cure=cure, facts=facts)


def wrong(message: str, cure: str, **facts: object) -> Finding:
    """Return that a worker cannot do its work."""
    return Finding(state=State.WRONG, message=message, cure=cure, facts=facts)


def unknown(message: str, cure: str, **facts: object) -> Finding:
    """Return that, and why, something could not be found out."""
    return Finding(state=State.UNKNOWN, message=message, cure=cure, facts=facts)


def told(state: State, sentence: str) -> Finding:
    """
    Return a finding of a *sentence* of another part, which says what is wrong, and after its last colon the cure.

    A sentence without a colon is message and cure in one.
    """
    message, colon, cure = sentence.strip().rpartition(": ")
    if not colon:
        return Finding(state=state, message=sentence)
    return Finding(state=state, message=f"{message}.", cure=cure[:1].upper() + cure[1:])


class Blocked(Exception):
    """A check cannot be made because of what the check *cause* has found: *reason*, a sentence."""

    def __init__(self, cause: str, reason: str, cure: str = "") -> None:
        super().__init__(reason)
        self.reason, self.cure = reason, cure or f"See the check {cause}."
