"""
`faust -A connector rules …`: the rules at X, what would change, and what rules cost.

Exit codes: 0 done; 1 refused, by X or because a running group would undo it; 2 wrong arguments or file; 3 a worker
named by --url cannot be reached; 69 X did not answer, or refused the account; 78 wrong configuration; 130 Ctrl-C.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from faust.cli.base import cli as faust_cli
from rich.console import Console

from connector.cli.connectors.client import Failed, Unreachable
from connector.cli.connectors.files import Unreadable
from connector.cli.connectors.setup import client_of, confirm, end, say, wants_json
from connector.cli.exits import EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, EX_UNREACHABLE, EX_USAGE
from connector.cli.rules import estimate as estimating
from connector.cli.rules import group as groups
from connector.cli.rules.measured import Measured, Measurement, Unmeasured
from connector.cli.rules.shown import Held, show_held, show_plan, split
from connector.cli.rules.wanted import Configured, rules_of
from connector.config.connector import ConnectorConfig
from connector.config.rules import Rule as WantedRule
from connector.coverage.price import mills_each
from connector.errors import ConfigError, ConnectorError, InvalidRequest
from connector.sources.archive.counts import Counting
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.rest.account import Account
from connector.sources.rest.api import Api
from connector.sources.rest.plan import Plan, planned
from connector.sources.rest.rules import Rule, apply, held_rules, refusals
from connector.worker.process import exit_misconfigured
from connector.worker.tasks import credentials_of

if TYPE_CHECKING:
    from connector.config.load import Examined, Loaded
    from connector.worker.process import ConnectorApp

ASK_SECS = 5.0
"""How long a worker may be busy before it is asked no more."""

HELP = """Show the rules at X, what would change, and what rules cost.

At X rules belong to the app, and each post that matches one is paid for. The connector's own rules have tags that begin
with its name and a slash; no other rule is ever changed. A worker brings the rules of its connectors to X by itself, so
apply is for the time before a first start, or after the last.

Rules are those of CONNECTOR_HASHTAGS, CONNECTOR_RULES and CONNECTOR_RULES_FILE, or of --file: a connector as the
command connectors takes it, or a list of rules as CONNECTOR_RULES_FILE takes it.

Exit codes: 0 done, 1 refused, 2 wrong arguments, 3 no worker at --url, 69 X is not reached, 78 wrong configuration."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the subcommands share: what is configured, the worker to ask, and how to answer."""

    configured: Configured
    json: bool
    url: str | None
    no_group: bool
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def config(self, file: Path | None) -> ConnectorConfig:
        """
        Return the connector of *file* or the environment.

        Raises:
            ConfigError, Unreadable: as `Configured.config`.
            click.UsageError: its stream has no rules.
        """
        return _with_rules(self.configured.config(file))

    def for_estimate(self, file: Path | None, rules: Sequence[WantedRule] | None) -> ConnectorConfig:
        """
        Return what an estimate needs of the connector of *file* or the environment, with *rules* if there are some.

        Raises:
            ConfigError, Unreadable, click.UsageError: as `config`.
        """
        return _with_rules(self.configured.for_estimate(file, rules))

    def group(self) -> groups.Group | None:
        """
        Return what the group wants; None if none of its workers answers where one is expected by default.

        Raises:
            Unreachable: no worker answers at --url.
            Failed: the worker does not tell.
        """
        if self.no_group:
            return groups.Group()
        try:
            return groups.ask(client_of(self.configured.loaded.worker, self.url, wait_secs=ASK_SECS))
        except Unreachable:
            if self.url is not None or self.configured.loaded.worker.rest_url is not None:
                raise
            return None

    def answer(self, found: Mapping[str, Any], show: Callable[[], object]) -> None:
        """Print *found* as JSON if that is wanted; else let *show* print it for people."""
        if self.json:
            sys.stdout.write(json.dumps(found) + "\n")
        else:
            show()


def _with_rules(config: ConnectorConfig) -> ConnectorConfig:
    if config.stream != "filtered":
        raise click.UsageError(f"stream={config.stream} has no rules: only stream=filtered has.")
    return config


def subcommand(name: str, *params: Callable[..., Any]) -> Callable[[Callable[..., int | None]], click.Command]:
    """Declare a subcommand; its function gets a `Setup` first, and returns the exit code if that is not 0."""

    def declare(function: Callable[..., int | None]) -> click.Command:
        def run(ctx: click.Context, /, *, json_: bool, url: str | None, no_group: bool, **values: Any) -> NoReturn:
            setup = Setup(ctx.ensure_object(Configured), wants_json(ctx, json_), url, no_group)
            with _told():
                code = function(setup, **values)
            raise SystemExit(code or EX_OK)

        wrapped: Callable[..., Any] = functools.update_wrapper(click.pass_context(run), function)
        for param in (*_COMMON, *reversed(params)):
            wrapped = param(wrapped)
        return click.command(name)(wrapped)

    return declare


_COMMON = (
    click.option("--json", "json_", is_flag=True, help="Print JSON."),
    click.option("--no-group", is_flag=True, help="Ask no worker: no group runs that uses these rules."),
    click.option("--url", metavar="URL", help="A worker of the group. [default: CONNECTOR_REST_URL, or this machine]"),
)
_FILE = click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A connector or a list of rules, in place of the environment's.",
)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong into a sentence and an exit code."""
    try:
        yield
    except ConfigError as error:
        exit_misconfigured(error)
    except Unreadable as error:
        end(str(error), EX_USAGE)
    except Unreachable as error:
        end(f"{error} --no-group asks none.", EX_UNREACHABLE)
    except Failed as error:
        end(str(error), EX_FAILED)
    except (InvalidRequest, Unmeasured) as error:
        end(str(error), EX_FAILED)
    except ConnectorError as error:
        end(f"{error}.", EX_UNAVAILABLE)
    except (KeyboardInterrupt, click.Abort):
        end("Cut short.", EX_INTERRUPTED)


# -- what is


@subcommand("show", _FILE)
def show(setup: Setup, file: Path | None) -> None:
    """Show what X holds. Our rules by connector, those of others, and the limits of the account."""
    config = setup.config(file)
    group = setup.group()
    with Api(config.x_api_url, credentials_of(config)) as api:
        account = Account(api)
        ours, others = split(held_rules(api), {config.name, *(group.states if group else ())})
        held = Held(
            ours=ours,
            others=others,
            counts=account.rule_counts(),
            usage=account.usage(),
            plan=config.plan,
            mills_each=mills_each(config),
        )
    setup.answer(held.fields(), lambda: show_held(held, setup.console))


@subcommand(
    "estimate",
    click.argument("values", nargs=-1, metavar="[RULE]..."),
    _FILE,
    click.option("--held", is_flag=True, help="Estimate the rules that X holds now, of this connector and of others."),
    *estimating.OPTIONS,
)
def estimate(setup: Setup, values: Sequence[str], file: Path | None, *, held: bool, **options: Any) -> int | None:
    """
    Say what rules bring and cost. Posts and dollars a day and a month, by X's counts of the last days.

    RULEs need not exist yet; without any, the configured rules are estimated. Of the configuration it needs X's
    credentials alone, and rules if none are given. A post that matches several rules is paid
    for once, and counted so. X charges for counts, which is said and asked before.
    """
    if sum((bool(values), file is not None, held)) > 1:
        raise click.UsageError("RULE, --file and --held contradict each other: use one of them.")
    # rules that X holds are not known before the account is: any rule stands for them
    config = setup.for_estimate(file, rules_of(values or ["held"]) if values or held else None)
    given = estimating.read(options)
    with Api(config.x_api_url, credentials_of(config)) as api:
        rules = config.rules
        if held:
            rules = tuple(WantedRule(rule.value, rule.tag or rule.value) for rule in held_rules(api))
        report = estimating.run(api, config, rules, given, functools.partial(_measure, setup, config, api))
    if report is None:
        return EX_USAGE
    setup.answer(report.fields(), lambda: report.show(setup.console))
    return None


def _measure(
    setup: Setup, config: ConnectorConfig, api: Api, counting: Counting, answered: Callable[[], None]
) -> Measured:
    """Measure what X does not count on the running connector of *config*."""
    own = [rule for rule in held_rules(api) if rule.tag.startswith(f"{config.name}/")]
    client = client_of(setup.configured.loaded.worker, setup.url, wait_secs=ASK_SECS)
    measurement = Measurement(config.name, own, QUERY_CHARACTERS[config.plan])
    return measurement.run(client, counting, now_ms=int(time.time() * 1000), answered=answered)


# -- what changes


@subcommand("plan", _FILE)
def plan(setup: Setup, file: Path | None) -> None:
    """Show what would change. The configured rules, compared with those that X holds for the connector."""
    config = setup.config(file)
    with Api(config.x_api_url, credentials_of(config)) as api:
        planned = _planned(config, held_rules(api), setup.group())

    def shown() -> None:
        show_plan(planned, setup.console)
        if planned.objection and planned.change:
            say(planned.objection)

    setup.answer(planned.fields(), shown)


@subcommand(
    "apply",
    _FILE,
    click.option("--dry-run", is_flag=True, help="Let X check the new rules, and change nothing."),
    click.option("--yes", is_flag=True, help="Do not ask."),
)
def apply_(setup: Setup, file: Path | None, *, dry_run: bool, yes: bool) -> int | None:
    """
    Make X hold the configured rules. Of this connector alone.

    A running group does that by itself: rules that its worker would bring back, or that another of its connectors
    wants, are not changed.
    """
    config = setup.config(file)
    group = setup.group()
    with Api(config.x_api_url, credentials_of(config)) as api:
        planned = _planned(config, held_rules(api), group)
        if not setup.json:
            show_plan(planned, setup.console)
        if refused := refusals(api, planned.change):
            end("\n".join([f"X refuses {len(refused)} of the rules. Nothing was changed.", *refused]), EX_FAILED)
        if dry_run or not planned.change:
            words = "Nothing was changed: X takes these rules." if dry_run else "Nothing has to be changed."
            setup.answer({**planned.fields(), "applied": False}, lambda: setup.console.print(words))
            return None
        if planned.objection:
            end(f"{planned.objection} Nothing was changed.", EX_FAILED)
        if group is None:
            _need_no_reader(api)
        confirm("Change the rules at X?", yes=yes)
        kept = {rule.value for rule, _ in planned.kept}
        wanted = _values(config)
        done = apply(api, {config.name: wanted}, room=_room(Account(api)), keep=kept)
    setup.answer(
        {**planned.fields(), "applied": True},
        lambda: setup.console.print(f"Added {len(done.add):,}, deleted {len(done.delete):,}."),
    )
    return None


def _planned(config: ConnectorConfig, held: Sequence[Rule], group: groups.Group | None) -> Plan:
    name, wanted = config.name, _values(config)
    return planned(
        name,
        wanted,
        held,
        others=group.wanted_by_others(name) if group else {},
        unknown=group.unknown(name) if group else (),
        objection=group.objection(name, wanted) if group else None,
    )


def _values(config: ConnectorConfig) -> dict[str, str]:
    return {rule.value: rule.label for rule in config.rules}


def _room(account: Account) -> Callable[[], int | None]:
    def room() -> int | None:
        counts = account.rule_counts()
        return None if counts is None else counts.room

    return room


def _need_no_reader(api: Api) -> None:
    """Refuse if somebody reads the stream, and no worker could be asked what it wants."""
    if Account(api).connections("filtered_stream"):
        end(
            "Somebody reads the stream of this app, and no worker of the group answers on this machine, so it is not"
            " known which rules are in use: name a worker by --url, or say --no-group if that is no group of yours."
            " Nothing was changed.",
            EX_FAILED,
        )


COMMANDS = (show, plan, apply_, estimate)


def register(app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add the command `rules` to Faust's command line, for what *loaded* has."""
    faust_cli.add_command(group_of(lambda: Configured(loaded, app.unconfigured)))


def command_of(examined: "Examined") -> click.Command:
    """Return the command for the settings of *examined*, right or wrong: an estimate needs few of them."""
    return group_of(lambda: Configured(examined.loaded, problems=examined.problems))


def group_of(configured: Callable[[], Configured]) -> click.Group:
    """Return the command with its subcommands."""

    @click.group("rules", help=HELP)
    @click.pass_context
    def rules(ctx: click.Context) -> None:
        ctx.obj = configured()

    for command in COMMANDS:
        rules.add_command(command)
    return rules
