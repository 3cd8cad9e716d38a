"""Checks that the settings of TLS and of the login to Kafka fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from connector.config.certificates import Locked, check_pair
from connector.config.options import Conflict, Given, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from connector.config.secret import Secret

_FILES = ("kafka_ssl_ca_file", "kafka_ssl_cert_file", "kafka_ssl_key_file")
_PROTOCOL = "kafka_security_protocol"
_USER = ("kafka_sasl_username", "kafka_sasl_password")
_CLIENT = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
_OAUTH = (*_CLIENT, "kafka_oauth_scope", "kafka_oauth_extensions")


class SecuritySettings(Protocol):
    """The settings whose values are compared; for other settings it only matters whether they are set."""

    @property
    def kafka_security_protocol(self) -> str: ...

    @property
    def kafka_sasl_mechanism(self) -> str: ...

    @property
    def kafka_ssl_cert_file(self) -> Path | None: ...

    @property
    def kafka_ssl_key_file(self) -> Path | None: ...

    @property
    def kafka_ssl_key_password(self) -> Secret | None: ...


def conflicts(settings: SecuritySettings, given: Given, documentation: Mapping[str, str]) -> Iterable[Conflict]:
    """Yield the conflicts between the settings of TLS and of the login; *documentation* is by option name."""
    yield from _tls(settings, given)
    yield from _sasl(settings, given, documentation)


def _tls(settings: SecuritySettings, given: Given) -> Iterable[Conflict]:
    name, tls = given.name, settings.kafka_security_protocol in {"SSL", "SASL_SSL"}
    for option in (*_FILES, "kafka_ssl_key_password"):
        if given.has(option) and not tls:
            yield Conflict(
                (option, _PROTOCOL, "broker_url"),
                f"{name(option)} has no effect with {name(_PROTOCOL)}={settings.kafka_security_protocol}:"
                " set that to SSL or SASL_SSL.",
            )
    _, cert, key = _FILES
    for option, other in ((cert, key), (key, cert)):
        if given.has(option) and not given.has(other):
            yield Conflict(
                (other,), f"{name(other)} is required with {name(option)}: a certificate and its key go together."
            )
    if given.has("kafka_ssl_key_password") and not given.has(key):
        yield Conflict((key,), f"{name(key)} is required with {name('kafka_ssl_key_password')}: it opens a key.")
    if tls and settings.kafka_ssl_cert_file is not None and settings.kafka_ssl_key_file is not None:
        yield from _pair(settings, given)


def _pair(settings: SecuritySettings, given: Given) -> Iterable[Conflict]:
    _, cert, key = _FILES
    password = settings.kafka_ssl_key_password
    options = (key, cert, "kafka_ssl_key_password", _PROTOCOL)
    try:
        check_pair(
            settings.kafka_ssl_cert_file,  # type: ignore[arg-type]  # both are set
            settings.kafka_ssl_key_file,  # type: ignore[arg-type]
            None if password is None else password.reveal(),
        )
    except Unfit as unfit:
        yield Conflict(options, f"{given.name(key)} {unfit.rests[0]}")
    except Locked:
        if password is None:
            yield Conflict(
                options,
                f"{given.name(key)} names {settings.kafka_ssl_key_file}, which is locked by a password: set"
                " CONNECTOR_KAFKA_SSL_KEY_PASSWORD.",
            )
        else:
            yield Conflict(
                ("kafka_ssl_key_password", *options),
                f"{given.name('kafka_ssl_key_password')} does not open {settings.kafka_ssl_key_file}: give the"
                " password of that key.",
            )


def _sasl(settings: SecuritySettings, given: Given, documentation: Mapping[str, str]) -> Iterable[Conflict]:
    name, mechanism = given.name, "kafka_sasl_mechanism"
    protocol = f"{name(_PROTOCOL)}={settings.kafka_security_protocol}"
    with_sasl = settings.kafka_security_protocol.startswith("SASL_")
    with_token = settings.kafka_sasl_mechanism == "OAUTHBEARER"
    if with_sasl:
        because = f"{name(mechanism)}=OAUTHBEARER" if with_token else protocol
        for option in _CLIENT if with_token else _USER:
            if getattr(settings, option) is None:
                yield Conflict(
                    (option, mechanism, _PROTOCOL, "broker_url"),
                    f"{name(option)} is required with {because}: {documentation[option]}",
                )
    for option in (*_USER, mechanism, *_OAUTH):
        if not given.has(option):
            continue
        if not with_sasl:
            yield Conflict(
                (option, _PROTOCOL, "broker_url"),
                f"{name(option)} has no effect with {protocol}: set that to SASL_SSL or SASL_PLAINTEXT.",
            )
        elif (option in _USER and with_token) or (option in _OAUTH and not with_token):
            yield Conflict(
                (option, mechanism),
                f"{name(option)} has no effect with {name(mechanism)}={settings.kafka_sasl_mechanism}: remove it, or"
                " choose another mechanism.",
            )
