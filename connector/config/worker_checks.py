"""Reads a worker's settings, checks that they fit together, and collects notices for the log."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connector.config import kafka_security
from connector.config.addresses import Brokers, is_loopback, parse_brokers
from connector.config.faust_settings import MISTAKEN_FAUST_SETTINGS, REFUSED_FAUST_SETTINGS
from connector.config.keys import readable_by_all
from connector.config.options import (
    Conflict,
    Given,
    Problem,
    as_text,
    draft,
    given_by,
)
from connector.config.worker import WORKER_OPTIONS, WorkerSettings

HEARTBEATS_PER_SESSION = 3  # with fewer, the group would expel a worker after one lost heartbeat


def read_worker(
    environ: Mapping[str, str], directory: Path
) -> tuple[WorkerSettings, tuple[Problem, ...], tuple[str, ...]]:
    """Return the settings in *environ*, their problems, and notices to log once."""
    given = given_by(environ, WORKER_OPTIONS.values(), directory)
    found = draft(WorkerSettings, WORKER_OPTIONS.values(), given)
    settings = found.model
    conflicts: list[Conflict] = []
    if given.has("broker_url") and all(problem.option != "broker_url" for problem in found.problems):
        brokers = parse_brokers(given.texts["broker_url"])
        conflicts += _url_conflicts(brokers, settings, given)
        settings = _with_login(settings, given, brokers)
    conflicts += _conflicts(settings, given)
    refused = tuple(
        Problem(name, f"{name} cannot be used: {cure}.")
        for name, cure in REFUSED_FAUST_SETTINGS.items()
        if environ.get(name, "").strip()
    )
    return settings, found.with_conflicts(conflicts) + refused, tuple(_notices(settings, given))


def _with_login(settings: WorkerSettings, given: Given, brokers: Brokers) -> WorkerSettings:
    """Return the settings with the user and password of the brokers' URL, if it has a user."""
    if brokers.username is None:
        return settings
    login: dict[str, Any] = {"kafka_sasl_username": brokers.username, "kafka_sasl_password": brokers.password}
    if not given.has("kafka_security_protocol"):
        login["kafka_security_protocol"] = "SASL_PLAINTEXT"
    return replace(settings, **login)


def _conflicts(settings: WorkerSettings, given: Given) -> Iterable[Conflict]:
    name = given.name
    if settings.broker_heartbeat_interval >= settings.broker_session_timeout / HEARTBEATS_PER_SESSION:
        yield Conflict(
            ("broker_heartbeat_interval", "broker_session_timeout"),
            f"{name('broker_heartbeat_interval')} must be less than"
            f" {settings.broker_session_timeout / HEARTBEATS_PER_SESSION:.3g}, a third of"
            f" {name('broker_session_timeout')}, not {as_text(settings.broker_heartbeat_interval)}.",
        )
    if not is_loopback(settings.web_bind) and not settings.web_users:
        yield Conflict(
            ("web_bind", "web_users"),
            f"{name('web_bind')} opens the REST API to the network, without a login: set CONNECTOR_WEB_USERS to"
            " name:password, or bind to 127.0.0.1.",
        )
    if given.has("rest_user") != given.has("rest_password"):
        missing, other = sorted(("rest_user", "rest_password"), key=given.has)
        yield Conflict((missing,), f"{name(missing)} is required with {name(other)}: a login is both.")
    documentation = {name: option.documentation for name, option in WORKER_OPTIONS.items()}
    yield from kafka_security.conflicts(settings, given, documentation)


def _url_conflicts(brokers: Brokers, settings: WorkerSettings, given: Given) -> Iterable[Conflict]:
    url, protocol = given.name("broker_url"), given.name("kafka_security_protocol")
    if brokers.username is None:
        return
    for option in ("kafka_sasl_username", "kafka_sasl_password"):
        if given.has(option):
            yield Conflict(
                ("broker_url", option), f"{url} and {given.name(option)} both say who logs in: keep one of them."
            )
    if not (brokers.password and brokers.password.reveal()):
        yield Conflict(("broker_url",), f"{url} has a user without a password: write kafka://user:password@host:9092.")
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        yield Conflict(
            ("broker_url", "kafka_sasl_mechanism"),
            f"{url} has a user, which has no effect with {given.name('kafka_sasl_mechanism')}=OAUTHBEARER: remove it,"
            " or choose another mechanism.",
        )
    if given.has("kafka_security_protocol") and not settings.kafka_security_protocol.startswith("SASL_"):
        yield Conflict(
            ("broker_url", "kafka_security_protocol"),
            f"{url} has a user, which has no effect with {protocol}={settings.kafka_security_protocol}:"
            " set that to SASL_SSL or SASL_PLAINTEXT.",
        )


def _notices(settings: WorkerSettings, given: Given) -> Iterable[str]:
    hosts = [urlsplit(url).hostname or "" for url in settings.broker_url.split(";")]
    if settings.kafka_security_protocol == "SASL_PLAINTEXT" and not all(map(is_loopback, hosts)):
        yield (
            "CONNECTOR_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: the login to the brokers travels unencrypted;"
            " SASL_SSL encrypts it."
        )
    for name, ours in MISTAKEN_FAUST_SETTINGS.items():
        if given.environ.get(name, "").strip():
            yield f"{name} is a setting of Faust and shapes none of our topics: {ours} may be what you want."
    if settings.config_key_file:
        path = given.directory / given.texts["config_key_file"].strip()
        if readable_by_all(path):
            yield f"{given.name('config_key_file')} names {path}, which every user of this machine may read: chmod 600."
        if settings.config_plaintext_secrets:
            yield (
                f"{given.name('config_plaintext_secrets')} has no effect with {given.name('config_key_file')}: secrets"
                " are encrypted."
            )
