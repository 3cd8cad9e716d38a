"""Who asks for a change: the user of the web's login, for the history of the group."""

from contextvars import ContextVar

ASKER: ContextVar[str | None] = ContextVar("asker", default=None)
"""The name of the user whose request is being answered; None without a login, and for what happens by itself."""


def asker() -> str | None:
    """Return the name of the user who asks, None if there is none."""
    return ASKER.get()
