"""The command line of the simulator: its options, and the run until a signal."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import signal
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import click

from connector.simulator.faults.schedule import UnknownFault, parse_schedule
from connector.simulator.rules.grammar import InvalidRule
from connector.simulator.settings import Burst, SimulatorSettings
from connector.simulator.simulator import Simulator

DEFAULT_PORT = 8090
DEFAULT_RATE = 10.0

Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

STARTED_WITH: Mapping[str, Any] = {"port": DEFAULT_PORT, "rate": DEFAULT_RATE}
"""Defaults of the command line that differ from those of `SimulatorSettings`, which suit tests."""

HELP: Mapping[str, str] = {
    "host": "Address to listen on; the control endpoints listen there too.",
    "port": "Port to listen on; 0 takes any free port.",
    "token": "Bearer token that is accepted.",
    "consumer_key": "Key that /oauth2/token exchanges.",
    "consumer_secret": "Secret that /oauth2/token exchanges.",
    "plan": "Plan of the account: its streams, rules and limits.",
    "seed": "The same seed gives the same posts.",
    "rate": "Posts a second; with --match-rules, posts a second that match a rule.",
    "hashtags": "Hashtags of generated posts, separated by commas.",
    "languages": "Languages and their shares: en=60,ja=40.",
    "match_rules": "Make posts that match the rules of the account.",
    "keepalive_s": "Seconds after the last byte until a keep-alive.",
    "ghost_slot_s": "Seconds for which a dead client keeps its slot.",
    "framing": "How messages become chunks.",
    "emissions_log": "File to which each emission is appended, one JSON line each.",
    "feed": "Write prepared posts as fast as the socket takes them.",
    "line_bytes": "Bytes of a line of the feed, the line end included.",
    "feed_lines": "Lines that the feed writes to each connection; without this option the feed has no end.",
    "feed_chunk_bytes": "Bytes of a chunk of the feed.",
    "rules": "A rule that the account holds at the start, VALUE or VALUE=>TAG; may be repeated.",
    "faults": "JSON file with a schedule of faults.",
    "bursts": "A burst, AT:DURATION:RATE in seconds and posts a second; may be repeated.",
    "absent": "Endpoints that are answered with 404, separated by commas.",
    "rate_limits": "Requests per 15 minutes where X's limits do not fit: filtered_stream=500,rules_get=9.",
}

_SPELLED = frozenset({"hashtags", "languages", "rules", "faults", "bursts", "absent", "rate_limits"})
"""Settings that `read` parses from text."""

_REPEATED = frozenset({"rules", "bursts"})


def options() -> tuple[Option, ...]:
    """Return an option for each setting: `--keepalive-s` for `keepalive_s`."""
    hints = get_type_hints(SimulatorSettings)
    defaults = SimulatorSettings()
    return tuple(
        _option(field.name, hints[field.name], STARTED_WITH.get(field.name, getattr(defaults, field.name)))
        for field in dataclasses.fields(SimulatorSettings)
    )


def _option(name: str, kind: Any, default: Any) -> Option:
    flag = f"--{name.replace('_', '-')}"
    text = HELP.get(name, "See the settings of the simulator.")
    if name in _SPELLED:
        return click.option(
            flag.removesuffix("s") if name in _REPEATED else flag, name, multiple=name in _REPEATED, help=text
        )
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=default, show_default=True, help=text)
    if get_origin(kind) is Literal:
        choice = click.Choice(get_args(kind))
        return click.option(flag, name, type=choice, default=default, show_default=True, help=text)
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(inner for inner in get_args(kind) if inner is not type(None))
    secret = name == "consumer_secret"
    return click.option(flag, name, type=kind, default=default, show_default=not secret, help=text)


def read(values: Mapping[str, Any]) -> SimulatorSettings:
    """
    Return the settings that option values stand for.

    Raises:
        click.BadParameter: a value cannot be read.
    """
    chosen = {name: value for name, value in values.items() if name not in _SPELLED}
    readers: Mapping[str, Callable[[Any], Any]] = {
        "hashtags": lambda text: tuple(tag.strip().removeprefix("#") for tag in text.split(",") if tag.strip()),
        "languages": lambda text: _pairs(text, float),
        "rate_limits": lambda text: _pairs(text, int),
        "rules": lambda texts: tuple(_rule(text) for text in texts),
        "bursts": lambda texts: tuple(_burst(text) for text in texts),
        "absent": lambda text: frozenset(name.strip() for name in text.split(",") if name.strip()),
        "faults": lambda path: parse_schedule(Path(path).read_bytes()),
    }
    for name, reader in readers.items():
        given = values.get(name)
        if given:
            try:
                chosen[name] = reader(given)
            except (ValueError, OSError, UnknownFault) as error:
                raise click.BadParameter(str(error), param_hint=f"--{name.replace('_', '-')}") from None
    return SimulatorSettings(**chosen)


def _pairs(text: str, kind: Callable[[str], float]) -> dict[str, float]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): kind(value) for name, _, value in pairs}


def _rule(text: str) -> tuple[str, str | None]:
    value, arrow, tag = text.partition("=>")
    return value.strip(), tag.strip() if arrow else None


def _burst(text: str) -> Burst:
    at, duration, rate = map(float, text.split(":"))
    return Burst(at=at, duration=duration, rate=rate)


def run(values: Mapping[str, Any]) -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    try:
        settings = read(values)
        simulator = Simulator(settings)
    except (click.BadParameter, InvalidRule, UnknownFault, ValueError) as error:
        _say(f"The simulator cannot start: {error}")
        return 1
    return asyncio.run(_serve(simulator))


async def _serve(simulator: Simulator) -> int:
    settings = simulator.settings
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        await simulator.start()
    except (OSError, OverflowError) as error:  # a port beyond 65535 overflows
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "the port is taken" if taken else getattr(error, "strerror", None) or str(error)
        _say(f"The simulator cannot listen on {settings.host}:{settings.port}: {reason}.")
        return 1
    click.echo(f"Simulator of the X API v2 at {simulator.url}, bearer token {settings.token}; Ctrl-C stops it.")
    sys.stdout.flush()
    await stopping.wait()
    await simulator.stop()
    return 0


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


@click.command(name="simulate")
def main(**values: Any) -> None:
    """Run a stand-in for the X API v2 on this machine."""
    raise SystemExit(run(values))


for _add in reversed(options()):
    main = _add(main)  # type: ignore[assignment]
