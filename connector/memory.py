"""How does the allocator treat memory that comes and goes with each batch?  It keeps it, where it can be told so."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""glibc's malloc.h."""

KEPT_BYTES = 256 * 1024 * 1024
GROWTH_BYTES = 64 * 1024 * 1024
MAPPED_FROM_BYTES = 32 * 1024 * 1024
"""The most that glibc takes."""


ARENAS = 1
"""With one for each thread, what a reader has read leaves holes that only this reader can fill."""


def keep_memory() -> None:
    """
    Let glibc keep freed memory: the joined megabytes of a batch cost a page fault for each 4 KiB otherwise.

    Call it before there is a second thread.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, GROWTH_BYTES)


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Let imports find that *module* is not installed, if none has imported it yet."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's way to say so
    try:
        yield
    finally:
        del sys.modules[module]
