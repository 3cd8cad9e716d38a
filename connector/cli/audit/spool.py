"""
Keeps ids by the minute in which their posts were created, in bounded memory, and removes duplicates.

Kafka returns ids in any order, as a repair may deliver posts days late.  So duplicates of a minute can be removed only
after all ids are read.  A week at 250 posts/s is 150 million ids, 13 GB in a set.  Here memory holds the last block of
ids of each minute; full blocks are written to a temporary file, 12 bytes an id, which is on disk once it is larger than
`MEMORY_BYTES`.

    add ─▶ block of its minute ─(full)─▶ file         minutes: blocks of one minute ─▶ each id once, with its first kind
"""

import tempfile
from array import array
from collections.abc import Iterator, Mapping
from typing import IO, Self

from connector.errors import ConnectorError
from connector.records.snowflake import created_ms

MINUTE_MS = 60_000

BLOCK_IDS = 256
"""Most ids of one minute in memory: 31 MB for the 10,080 minutes of a week."""

MEMORY_BYTES = 32 * 1024 * 1024
"""Up to this size the file is in memory, so that most audits need no disk."""

_ID_BYTES, _KIND_BYTES = array("Q").itemsize, array("I").itemsize


class MinuteSpool:
    """
    Keeps ids until they are counted, each with its *kind*, a small number; used with `with`.

    Raises:
        ConnectorError: in `add` and `minutes`, the temporary file cannot be written or read.
    """

    def __init__(self, *, block_ids: int = BLOCK_IDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._block_ids, self._memory_bytes = block_ids, memory_bytes
        self._file: IO[bytes] | None = None
        self._end = 0
        self._blocks: dict[int, tuple[array[int], array[int]]] = {}
        self._places: dict[int, array[int]] = {}  # the positions of a minute's full blocks in the file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._file:
            self._file.close()

    def add(self, post_id: int, kind: int) -> None:
        """Keep *post_id* with its *kind*; the same id may be added twice."""
        made_ms = created_ms(post_id)
        minute = made_ms - made_ms % MINUTE_MS
        block = self._blocks.get(minute)
        if block is None:
            block = self._blocks[minute] = array("Q"), array("I")
        ids, kinds = block
        ids.append(post_id)
        kinds.append(kind)
        if len(ids) >= self._block_ids:
            del self._blocks[minute]
            self._write(minute, ids.tobytes() + kinds.tobytes())

    def minutes(self) -> Iterator[tuple[int, Mapping[int, int]]]:
        """Yield each minute (UNIX ms) with its ids, and for each id the kind with which it was added first."""
        for minute in sorted({*self._blocks, *self._places}):
            first: dict[int, int] = {}
            for ids, kinds in self._read(minute):
                for post_id, kind in zip(ids, kinds, strict=True):
                    first.setdefault(post_id, kind)
            yield minute, first

    def _write(self, minute: int, block: bytes) -> None:
        try:
            if self._file is None:
                self._file = tempfile.SpooledTemporaryFile(self._memory_bytes)  # noqa: SIM115 - `close` does
            self._file.seek(self._end)
            self._file.write(block)
        except OSError as error:
            raise _failure(error) from error
        self._places.setdefault(minute, array("Q")).append(self._end)
        self._end += len(block)

    def _read(self, minute: int) -> Iterator[tuple["array[int]", "array[int]"]]:
        for place in self._places.get(minute, ()):
            block = self._read_block(place)
            ids, kinds = array("Q"), array("I")
            ids.frombytes(block[: self._block_ids * _ID_BYTES])
            kinds.frombytes(block[self._block_ids * _ID_BYTES :])
            yield ids, kinds
        if minute in self._blocks:
            yield self._blocks[minute]

    def _read_block(self, place: int) -> bytes:
        if self._file is None:
            return b""
        try:
            self._file.seek(place)
            return self._file.read(self._block_ids * (_ID_BYTES + _KIND_BYTES))
        except OSError as error:
            raise _failure(error) from error


def _failure(error: OSError) -> ConnectorError:
    return ConnectorError(
        f"The ids that are compared do not fit into the temporary folder {tempfile.gettempdir()} ({error.strerror}):"
        " free space there, name another folder in TMPDIR, or audit a shorter time"
    )
