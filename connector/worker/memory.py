"""
Settings of glibc's allocator: keep freed memory for the next batch, and return the rest to the system every 2 s.

Other C libraries are left as they are.
"""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""Numbers of the settings, from glibc's malloc.h."""

GIVE_BACK_SECS = 2.0
"""
Time between two calls of `give_back`.

At full speed the calls cost 0.1 % of a core, mostly to get back pages that the next batch needs.
"""

KEPT_BYTES = 256 * 1024 * 1024
GROWTH_BYTES = 64 * 1024 * 1024
MAPPED_FROM_BYTES = 32 * 1024 * 1024
"""Larger blocks are mapped one by one; 32 MiB is the largest value that glibc accepts."""


ARENAS = 1
"""All threads share one arena; with an arena for each, only the same reader thread could reuse the memory it freed."""


def keep_memory() -> None:
    """
    Let glibc keep freed memory; else the joined bytes of each batch (megabytes) cost a page fault for each 4 KiB.

    Call it before the process starts a second thread.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, GROWTH_BYTES)


def give_back() -> None:
    """
    Return the free whole pages to the system, also those between blocks that are in use.

    Batches differ in size, so they leave free blocks that no later batch fits into: 20 MB after some minutes.  While
    Kafka does not answer, or no post arrives, the memory for copies of batches is not needed either.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
