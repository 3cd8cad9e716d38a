"""What all subcommands have in common: their options, the worker they ask, how they answer, and their exit codes."""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import click
from rich.console import Console

from connector.cli.connectors.client import Client, Failed, Login, Unreachable
from connector.cli.connectors.files import Unreadable
from connector.cli.connectors.printable import printable
from connector.cli.exits import EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNREACHABLE, EX_USAGE
from connector.config.addresses import is_loopback, netloc, parse_rest_url
from connector.config.options import Unfit

if TYPE_CHECKING:
    from connector.config.worker import WorkerSettings

WAIT_SECS = 30.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where a worker listens, and where it is reached


@dataclass(frozen=True, slots=True)
class Setup:
    """A worker to ask, and how to answer."""

    client: Client
    json: bool
    console: Console

    def answer(self, found: object, show: Callable[[], object]) -> None:
        """Print *found* as JSON if that is wanted; else let *show* print it for people."""
        if self.json:
            sys.stdout.write(json.dumps(found) + "\n")
        else:
            show()


def url_of(settings: "WorkerSettings") -> str:
    """Return where a worker of *settings* is reached from this machine."""
    if settings.rest_url is not None:
        return settings.rest_url
    return f"http://{netloc(ANYWHERE.get(settings.web_bind, settings.web_bind), settings.web_port)}"


def login_of(settings: "WorkerSettings", url: str) -> Login | None:
    """
    Return the login in *settings* for the worker at *url*, or None.

    The logins of a worker's own web interface are sent to no other host.
    """
    if settings.rest_user is not None and settings.rest_password is not None:
        return Login(settings.rest_user, settings.rest_password)
    host = urlsplit(url).hostname or ""
    if not is_loopback(host) and host != settings.web_bind:
        return None
    return next((Login(user.name, user.password) for user in settings.web_users), None)


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options that the group and each subcommand have."""
    for option in (
        click.option("--json", "json_", is_flag=True, help="Print JSON."),
        click.option(
            "--wait",
            "wait_secs",
            type=click.FloatRange(0, 3600),
            metavar="SECS",
            help=f"How long to try again while another change is under way. [default: {WAIT_SECS:g}]",
        ),
        click.option("--url", metavar="URL", help="A worker of the group. [default: CONNECTOR_REST_URL, see above]"),
    ):
        command = option(command)
    return command


def subcommand(name: str, *params: Callable[..., Any]) -> Callable[[Callable[..., int | None]], click.Command]:
    """Declare a subcommand; its function gets a `Setup` first, and returns the exit code if that is not 0."""

    def declare(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def run(
            ctx: click.Context, url: str | None, wait_secs: float | None, *, json_: bool, **values: Any
        ) -> NoReturn:
            with _told():
                code = function(_setup(ctx, url, wait_secs, json_=json_), **values)
            raise SystemExit(code or EX_OK)

        wrapped = common(click.pass_context(run))
        for param in reversed(params):
            wrapped = param(wrapped)
        return click.command(name)(wrapped)

    return declare


def _setup(ctx: click.Context, url: str | None, wait_secs: float | None, *, json_: bool) -> Setup:
    given = ctx.find_object(dict) or {}
    waits = next((secs for secs in (wait_secs, given["wait_secs"]) if secs is not None), WAIT_SECS)
    client = client_of(given["settings"], url or given["url"], wait_secs=waits)
    return Setup(client, wants_json(ctx, json_ or given["json_"]), Console(highlight=False))


def client_of(settings: "WorkerSettings", url: str | None, *, wait_secs: float) -> Client:
    """
    Return the worker at *url*, or where *settings* say that one is.

    Raises:
        click.UsageError: *url* is none.
    """
    try:
        url = parse_rest_url(url or url_of(settings))
    except Unfit as unfit:
        raise click.UsageError(f"--url {unfit.rests[0]}") from None
    client = Client(url, login_of(settings, url), wait_secs=wait_secs)
    if client.login_travels_open:
        say(f"The login travels unencrypted to {client.url}: an https URL encrypts it.")
    return client


def wants_json(ctx: click.Context, given: bool) -> bool:  # noqa: FBT001  # the flag of a command
    """Whether JSON is asked for, by an option of the command or of Faust."""
    return given or bool(ctx.find_root().params.get("json"))


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong into a sentence and an exit code."""
    try:
        yield
    except Unreachable as error:
        end(str(error), EX_UNREACHABLE)
    except Failed as error:
        end(str(error), EX_FAILED)
    except Unreadable as error:
        end(str(error), EX_USAGE)
    except (KeyboardInterrupt, click.Abort):
        end("Cut short.", EX_INTERRUPTED)


def end(words: str, code: int) -> NoReturn:
    say(words)
    raise SystemExit(code) from None


def say(*sentences: str) -> None:
    """Print each of *sentences* on standard error, in a line of its own."""
    sys.stderr.write("".join(f"{printable(sentence)}\n" for sentence in sentences))


def confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{question} Without a terminal, --yes says so.")
    if not click.confirm(question, err=True):
        end("Nothing was changed.", EX_USAGE)
