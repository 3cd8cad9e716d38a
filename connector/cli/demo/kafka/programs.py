"""Runs a program to its end, unless the demo ends before."""

import asyncio


async def ended(*command: str, secs: float) -> tuple[int, str]:
    """
    Run *command*; return its exit code and what it said.  It does not outlive the caller.

    Raises:
        TimeoutError: it has not ended within *secs*.
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(secs):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(errors="replace")
