"""The table of all checks, and how one is run: bounded in time, and its failure kept from the others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from connector.cli.doctor import account, brokers, machine, registry, rules, topics
from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import Blocked, Finding, unknown
from connector.kafka.login.refusals import words_of

CHECK_SECS = 25.0
"""The longest time for a check, in seconds."""

COUNT_SECS = 120.0
"""The longest time for counting posts, in seconds: a request for each of the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: *name* is an argument of `--check`; the docstring of *run* is the question that it answers."""

    name: str
    run: Callable[[Case], Awaitable[list[Finding]]]
    secs: float = CHECK_SECS

    @property
    def question(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


CHECKS = (
    Check(name="settings", run=machine.settings),
    Check(name="secrets", run=machine.secrets),
    Check(name="versions", run=machine.versions),
    Check(name="disk", run=machine.disk),
    Check(name="credentials", run=account.credentials),
    Check(name="clock", run=account.clock),
    Check(name="plan", run=account.plan),
    Check(name="rules", run=rules.rules),
    Check(name="cost", run=rules.cost, secs=COUNT_SECS),
    Check(name="broker", run=brokers.broker),
    Check(name="transactions", run=brokers.transactions),
    Check(name="rights", run=brokers.rights),
    Check(name="internal-topics", run=topics.internal_topics),
    Check(name="topics", run=topics.topics),
    Check(name="registry", run=registry.registry),
    Check(name="connections", run=account.connections),
)
"""All checks, in the order in which they are run: what others need comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check has found."""

    check: Check
    findings: tuple[Finding, ...]


async def run(check: Check, case: Case) -> Result:
    """Run *check*; whatever goes wrong in it becomes a finding."""
    try:
        async with asyncio.timeout(check.secs):
            found = await check.run(case)
    except Blocked as blocked:
        found = [unknown(f"{blocked.reason.rstrip('.')}.", blocked.cure)]
    except TimeoutError:
        again = f"Look at what the other checks say, and ask again with --check {check.name}."
        found = [unknown(f"There was no answer within {check.secs:g} s.", again)]
    except Exception as error:  # noqa: BLE001  # the finding tells it, and the other checks go on
        found = [unknown(f"{words_of(error).rstrip('.')}.", f"Ask again with --check {check.name}.")]
    return Result(check=check, findings=tuple(found))
