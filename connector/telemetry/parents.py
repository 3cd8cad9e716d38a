"""Where records get the parent of their trace: a span that `traces` makes, if this worker exports traces."""

from collections.abc import Callable


class TraceParents:
    """Returns `traceparent` of posts; none until `say` was called, which only a worker does that exports traces."""

    def __init__(self) -> None:
        self._of: Callable[[str, int], str] | None = None

    def say(self, of: Callable[[str, int], str]) -> None:
        """From now on ask *of*, with the name of a connector and the id of a post."""
        self._of = of

    def of(self, connector: str, post_id: int) -> str | None:
        """Return the `traceparent` for the post *post_id* of *connector*."""
        return None if self._of is None else self._of(connector, post_id)
