"""How does the allocator treat memory that comes and goes with each batch?  It keeps it, where it can be told so."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""glibc's malloc.h."""

GIVE_BACK_SECS = 2.0
"""At full speed it costs 0.1 % of a core, mostly for pages that are needed again after all."""

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


def give_back() -> None:
    """
    Return what is free between the things that stay, by whole pages.

    Each batch has other sizes than the one before, so that holes remain which no later one fits into; over minutes they
    come to 20 MB.  While Kafka does not answer, or nothing arrives, nobody needs what was taken for copies.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
