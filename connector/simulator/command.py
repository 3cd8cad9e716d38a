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
    "account_id": "Id of the account, as problems name it.",
    "client_id": "Id of the app, as problems and rules name it.",
    "enforce_rate_limits": "Answer 429 beyond a rate limit.",
    "hashtag_share": "Share of generated posts with a hashtag, from 0 to 1.",
    "users": "How many authors write the generated posts.",
    "match_share": "With --match-rules, share of posts that are made to match, from 0 to 1.",
    "duplicate_every": "Send every Nth matching post a second time; 0 sends none twice.",
    "out_of_order_s": "Delay posts at random by up to so many seconds, so that they overtake each other.",
    "delivery_lag": "Whether posts arrive as late as X's do.",
    "delivery_lag_s": "Median of the realistic lag in seconds.",
    "delivery_cap": "Drop posts beyond the posts per second of the plan.",
    "sample_percent": "Percent of all posts on the sample stream; 1 imitates X.",
    "sample10_percent": "Percent of all posts on the sample10 stream; 10 imitates X.",
    "store_posts": "How many posts search, counts, backfill and recovery can find.",
    "store_days": "Age in days up to which they can find a post.",
    "keepalive_jitter_s": "Seconds by which a keep-alive may come later.",
    "stream_gzip": "Compress streams for clients that accept it.",
    "key_order": "Order of the keys in a line's JSON.",
    "astral": "Whether characters beyond U+FFFF, such as emoji, are escaped or raw in a line.",
    "hostile": "Make every line hostile, each in another way.",
    "long_text_cut": "How the text of a long post is cut: as in recordings of X, or as a report says.",
    "edit_window_min": "Minutes for which a post can be edited, as its edit controls say.",
    "buffer_bytes": "Bytes that wait for a slow reader before the connection ends.",
    "slow_reader_s": "Seconds for which a reader may take nothing before the connection ends.",
    "socket_send_bytes": "Size of the kernel's send buffer; a small one shows a slow reader earlier.",
    "second_connection": "Refuse a connection beyond the plan's, or end the oldest.",
    "count_refused": "Count refused connects against the rate limit.",
    "problem_host": "Host in the types of problems.",
    "error_content_type": "Content type of errors.",
    "rules_cap_status": "HTTP status of a request for more rules than the plan has.",
    "rule_delay_s": "Seconds until a new rule acts.",
    "keyword_matches_hashtag": "Let the rule `kafka` match the hashtag #kafka.",
    "search_retweets": "Let search find retweets by their text, too.",
    "search_freshness_s": "Seconds until search finds a new post.",
    "credit_usd": "Dollars that the account has.",
    "spend_cap_usd": "Dollars that the account may spend; none means no limit.",
    "usage_cap": "Reads per month; none means the cap of the plan.",
    "post_price_usd": "Dollars for a post.",
    "user_price_usd": "Dollars for a user.",
    "credits_end": "What happens to streams when the credit ends.",
    "cap_end": "What happens to streams when the usage cap is reached.",
    "emissions_kept": "How many emissions the control endpoints show.",
    "feed_end": "What the feed does after its last line.",
}
"""What `--help` says of each setting."""

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
    text = HELP[name]
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
