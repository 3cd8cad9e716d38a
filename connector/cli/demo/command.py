"""
`faust -A connector demo`: the connector at work, without an account at X and without a Kafka of one's own.

    simulator ──stream──▶ worker ──▶ broker          three processes, watched by this one
        ▲ faults            │ printed posts, log, /metrics
        └────── demo ◀──────┘

The broker is an embedded one, which is small and has no transactions; a real Kafka (`--kafka real`), which is killed
and started again, like the worker; or one that is given.

Ctrl-C ends the demo: the simulator makes no more posts, the worker drains and stops, and the demo compares the topic
with the simulator's log.  `python -m connector.cli.demo.command` does the same without building an application.

`demo` is one run of it; here is what the command line says, and how signals end it.
"""

import asyncio
import contextlib
import io
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import aiohttp
import click
import faust
from faust.cli import AppCommand

from connector.cli.demo.demo import Demo
from connector.cli.demo.failed import DemoFailed
from connector.cli.demo.kafka.jars import is_repository
from connector.cli.demo.plan import EMBEDDED, NAME, REAL, Plan
from connector.cli.demo.screen import Screen
from connector.cli.demo.surroundings import surroundings
from connector.cli.exits import EX_FAILED
from connector.config.load import Loaded, load
from connector.errors import ConfigError
from connector.worker.process import exit_misconfigured

DEFAULT_RATE = 10.0

DEBOUNCE_SECS = 1.0
"""A second signal within this time is ignored: `make` passes on a Ctrl-C that the terminal has sent already."""


async def _run(plan: Plan) -> int:
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[str] = loop.create_future()
    this, asked_at = asyncio.current_task(), 0.0

    def stop(reason: str) -> None:
        nonlocal asked_at
        if not stopping.done():
            asked_at = loop.time()
            stopping.set_result(reason)
        elif loop.time() - asked_at > DEBOUNCE_SECS and this is not None:
            demo.kill()
            this.cancel()

    with tempfile.TemporaryDirectory(prefix="murmuration-") as folder, Screen() as screen:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            demo = Demo(plan, screen, Path(folder), http)
            for number, reason in {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}.items():
                if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                    loop.add_signal_handler(number, stop, reason)
            try:
                return await demo.run(stopping)
            except DemoFailed as failure:
                screen.say(str(failure), "bold red")
                return failure.exit_code
            except asyncio.CancelledError:
                screen.say("Cut short by a second signal; nothing was compared.", "bold red")
            return EX_FAILED


def run(values: Mapping[str, Any]) -> int:
    """Run the demo; return the exit code."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are told in a sentence
    plan = _plan_of(values)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        sys.stderr.write(
            "The demo needs a folder for temporary files, and there is none: name one with TMPDIR, or give a container"
            " one with --tmpfs /tmp.\n"
        )
        return EX_FAILED
    try:
        return asyncio.run(_run(plan))
    except ConfigError as error:
        exit_misconfigured(error)


# -- the command line


def _plan_of(values: Mapping[str, Any]) -> Plan:
    """Return the plan of a command line, in which an empty text is none: `make demo` passes some."""
    if values["broker"] and values.get("kafka"):
        raise click.UsageError("--broker and --kafka contradict each other: use one of them.")
    if values.get("repository") and not is_repository(values["repository"]):
        raise click.UsageError("--repository must be a URL that begins with https://.")
    given: dict[str, Any] = {name: None if value == "" else value for name, value in values.items()}
    return Plan(**given)


def options() -> tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...]:
    """Return the options of the command."""
    return (
        click.option("--broker", help="Kafka to use, as kafka://host:9092."),
        click.option(
            "--kafka",
            type=click.Choice([EMBEDDED, REAL]),
            metavar=f"{EMBEDDED}|{REAL}",
            help="Without --broker: a small broker in memory, or Apache Kafka (Java), exactly once, with more faults."
            " [default: embedded, where there is one]",
        ),
        click.option(
            "--repository",
            metavar="URL",
            help="With --kafka real: the Maven repository that Kafka's jars come from if Maven is not installed.",
        ),
        click.option(
            "--rate", type=click.FloatRange(0.1, 5000), default=DEFAULT_RATE, show_default=True, help="Posts a second."
        ),
        click.option(
            "--duration", type=click.FloatRange(min=1), help="Seconds after the first post; without it until Ctrl-C."
        ),
        click.option(
            "--faults/--no-faults", default=True, show_default=True, help="Announce faults, and survive them."
        ),
        click.option("--keep", is_flag=True, help="Keep the demo's topics on a broker given with --broker."),
    )


class _OwnLoop(AppCommand):
    """A command that brings its own event loop; Faust would run it inside a worker."""

    abstract: ClassVar[bool] = True

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise SystemExit(run(self.kwargs))


def register(app: faust.App, _loaded: Loaded | None = None) -> None:
    """Add the command `demo` to an application."""

    @app.command(*options(), base=_OwnLoop)
    async def demo(self: AppCommand, **_values: Any) -> None:
        """Show the connector at work, with a simulated X API and an embedded broker."""


@click.command(name="demo")
def main(**values: Any) -> None:
    """Show the connector at work, with a simulated X API and an embedded broker."""
    raise SystemExit(run(values))


for _add in reversed(options()):
    main = _add(main)


def wrong(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> str:
    """Return the problem of a command line in one line without a full stop, which `make` adds; empty if it is right."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # of `--help`
            values = main.make_context(NAME, list(arguments)).params
        _plan_of(values)
        if values["broker"]:
            kept = surroundings(environ, keep_kafka=True)
            load({**kept, "CONNECTOR_BROKER_URL": values["broker"]}, folder)
    except click.exceptions.Exit:
        return ""
    except click.ClickException as error:
        return f"{error.format_message().rstrip('.')}; ARGS=--help lists the options"
    except ConfigError as error:
        return " ".join(error.problems).rstrip(".")
    return ""


if __name__ == "__main__":
    main()
