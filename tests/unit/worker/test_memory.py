import platform
import re
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, threading
from connector.worker.memory import keep_memory

if sys.argv[1] == "kept":
    keep_memory()
held, done = [], threading.Event()
threads = [threading.Thread(target=lambda: (held.append(bytes(10_000)), done.wait())) for _ in range(3)]
for thread in threads:
    thread.start()
while len(held) < 3:
    pass
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
done.set()
"""


def arenas(which):
    command = [sys.executable, "-c", SCRIPT, which]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603  # ours
    return len(re.findall("<heap nr=", said))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_threads_share_their_memory():
    """What the reader thread has freed serves the event loop, too."""
    assert 1 < arenas("as it is")
    assert 1 == arenas("kept")


HOLES = """
import sys
from pathlib import Path
from connector.worker.memory import give_back, keep_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

keep_memory()
held = [bytes([1]) * 10_000 for _ in range(4_000)]
held[::2] = [b""] * 2_000
before = resident()
if sys.argv[1] == "given back":
    give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_holes_are_given_back():
    """Of what is free between things that stay the whole pages go, half of these 20 MB at least."""
    freed = [
        int(subprocess.run([sys.executable, "-c", HOLES, how], capture_output=True, check=True, timeout=60).stdout)  # noqa: S603  # ours
        for how in ("as it is", "given back")
    ]

    assert freed[0] < 1_000_000
    assert 8_000_000 < freed[1]
