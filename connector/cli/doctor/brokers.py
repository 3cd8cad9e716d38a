"""Kafka: is it there, can it do transactions, and may this user do what a worker does?"""

import time

from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import Finding, State, ok, told, unknown, warning, wrong
from connector.errors import BrokerAway, BrokerUnsuitable, RightMissing
from connector.kafka import rights as kafka_rights
from connector.kafka.gate.advertised import unreachable
from connector.kafka.gate.inspection import lacking
from connector.kafka.gate.transactions import inspect_transactions
from connector.kafka.internals import client_of


async def broker(case: Case) -> list[Finding]:
    """Does Kafka answer, at each address that it tells?"""
    case.need_settings()
    began = time.monotonic()
    try:
        admin = await case.connected()
    except (BrokerAway, RightMissing) as error:
        return [told(State.WRONG, str(error))]
    took_ms = (time.monotonic() - began) * 1000
    if sentence := await unreachable(client_of(admin)):
        return [wrong(f"{sentence.partition('. Set ')[0]}.", f"Set {sentence.partition('. Set ')[2]}.")]
    facts = await case.facts()
    version = f"as Kafka {facts.version} or later" if facts.version else "as a Kafka before 0.11"
    count = f"{facts.brokers} broker{'' if facts.brokers == 1 else 's'}"
    return [
        ok(
            f"{case.settings.broker_url_redacted} answers after {took_ms:,.0f} ms, {version}: {count}, cluster"
            f" {facts.cluster_id or 'without an id'}.",
            version=facts.version,
            brokers=facts.brokers,
            cluster_id=facts.cluster_id,
        )
    ]


async def transactions(case: Case) -> list[Finding]:
    """Can Kafka do what the delivery needs?"""
    admin = await case.admin()
    capabilities = (await case.facts()).capabilities
    exactly_once = [config.name for config in case.connectors if config.delivery == "exactly_once"]
    if not capabilities.transactions:
        if not exactly_once:
            return [ok("Kafka has no transactions, and no connector here needs any.")]
        return [
            wrong(
                "The broker has no transactions, which delivery=exactly_once needs.",
                "Set delivery=at_least_once (CONNECTOR_DELIVERY), or use Apache Kafka.",
            )
        ]
    try:
        await inspect_transactions(admin, case.settings.transaction_timeout_secs)
    except (BrokerUnsuitable, BrokerAway) as error:
        return [_transactions_refused(str(error))]
    return [ok(f"Kafka has transactions, of {case.settings.transaction_timeout_secs:g} s or longer.")]


def _transactions_refused(sentence: str) -> Finding:
    message, stop, cure = sentence.partition(" Lower both ")
    if stop:  # the sentence about Kafka's log has its cure in a sentence of its own
        return wrong(message, f"Lower both {cure}.")
    return told(State.WRONG, sentence)


async def rights(case: Case) -> list[Finding]:
    """May this user do what a worker does?"""
    admin, user = await case.admin(), case.cluster.user
    capabilities = (await case.facts()).capabilities
    wanted = await case.needs()
    required, useful, unasked = await lacking(admin, wanted)
    found = []
    if required:
        found.append(told(State.WRONG, str(kafka_rights.right_missing(dict.fromkeys(required), user))))
    for right, without in dict.fromkeys(useful):
        missing = told(State.WARNING, str(kafka_rights.right_missing([right], user)))
        found.append(warning(f"{missing.message} Without it {without}.", missing.cure))
    if capabilities.idempotence_refused:
        right = kafka_rights.Right(kafka_rights.IDEMPOTENT_WRITE, kafka_rights.CLUSTER, "")
        found.append(told(State.WARNING, str(kafka_rights.right_missing([right], user))))
    if unasked:
        names = ", ".join(f"{need.kind} {need.name}" for need in unasked)
        found.append(
            unknown(
                f"A new Kafka does not tell rights on {names} before it has made its own topics.",
                "Start a worker, which names what is missing, or ask again later.",
            )
        )
    if not required:
        who = "This worker's user" if user is None else f"User {user}"
        count = len(wanted) - len(unasked)
        found.insert(0, ok(f"{who} has all rights that a worker needs, on {count} resources."))
    return found
