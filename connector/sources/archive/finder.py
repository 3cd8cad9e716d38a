"""Finds the posts of a gap, by search or by a second connection on which X replays an interval."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from connector.records.record import Arrival, Connected, HeldRule
from connector.records.snowflake import to_iso
from connector.sources.archive.search import RecentSearch
from connector.sources.http.wire import Wire
from connector.sources.rest.api import Api
from connector.sources.source import StreamSource

SECOND_MS = 1000


@dataclass(kw_only=True, eq=False)
class PostFinder:
    """
    Searches and replays for the gaps of *source*'s part of a stream (`connector.task.repair.repairer.Finder`).

    A finder that was stopped cannot be used again.
    """

    source: StreamSource
    """Gives the account, the stream and the fields; this source itself is not read here."""
    max_characters: int
    """The most characters of a query."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _wire: Wire = field(default_factory=Wire, init=False, repr=False)
    _api: Api | None = field(default=None, init=False, repr=False)
    _replays: set["_Replay"] = field(default_factory=set, init=False, repr=False)
    _stopped: bool = field(default=False, init=False, repr=False)

    def search(self, rules: Sequence[HeldRule], low_id: int, high_id: int) -> RecentSearch:
        """Return the search for posts that match *rules*, with ids from *low_id* up to, not including, *high_id*."""
        if self._api is None:  # one `Api` for all searches: it knows how many requests X still allows
            self._api = Api(self.source.url, self.source.credentials, wire=self._wire)
        return RecentSearch(
            self._api,
            rules,
            self.source.parameters,
            low_id=low_id,
            high_id=high_id,
            max_characters=self.max_characters,
        )

    def replay(self, from_ms: int, to_ms: int) -> "_Replay":
        """Return the replay of what was posted from *from_ms* to *to_ms* (UNIX ms), widened to whole seconds."""
        interval = {
            "start_time": _whole_seconds(from_ms - from_ms % SECOND_MS),
            "end_time": _whole_seconds(to_ms + -to_ms % SECOND_MS),
        }
        return _Replay(self, interval)

    def stop(self) -> None:
        """End searches and replays at once, and allow no more.  Any thread."""
        with self._lock, ExitStack() as stack:
            self._stopped = True
            for replay in self._replays:
                stack.callback(replay.stop)
        self._wire.cut()

    def _begin(self, replay: "_Replay") -> bool:
        with self._lock:
            if not self._stopped:
                self._replays.add(replay)
            return not self._stopped

    def _end(self, replay: "_Replay") -> None:
        with self._lock:
            self._replays.discard(replay)


class _Replay:
    """One connection on which X sends *interval* and closes (`connector.task.repair.repairer.Replay`)."""

    def __init__(self, finder: PostFinder, interval: Mapping[str, str]) -> None:
        self._finder = finder
        source = finder.source
        self._source = replace(source, parameters={**source.parameters, **interval})

    def read(self, put: Callable[[Arrival], None], connected: Callable[[Connected], None]) -> None:
        """
        Read the whole interval; returns early only after a stop.  Executor thread.

        Raises:
            ConnectorError: the replay ended too early, or could not begin.
        """
        if not self._finder._begin(self):  # noqa: SLF001 - one thing in two classes
            return
        try:
            self._source.read(put, connected)
        finally:
            self._finder._end(self)  # noqa: SLF001 - one thing in two classes

    def stop(self) -> None:
        """End `read` at once.  Any thread."""
        self._source.stop()


def _whole_seconds(ms: int) -> str:
    return to_iso(ms).replace(".000Z", "Z")
