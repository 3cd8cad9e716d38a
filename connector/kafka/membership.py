"""Is this worker still the member of its group that it was?"""

import faust


class Membership:
    """
    Knows when the group has expelled this worker and taken it in again.

    A broker that was away too long expels all members.  Whoever is back first is dealt everything, until the others,
    whose tasks may still run, are back too.
    """

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._member_id: str | None = None

    def is_new(self) -> bool:
        """Return whether the group has taken this worker in anew since the last call; its first join does not count."""
        before, self._member_id = self._member_id, self._current()
        return before not in (None, self._member_id)

    def _current(self) -> str:
        consumer = self._app.consumer._thread._ensure_consumer()  # type: ignore[attr-defined]  # noqa: SLF001  # Faust does not hand it out
        return str(consumer._coordinator.member_id)  # noqa: SLF001  # nor does aiokafka
