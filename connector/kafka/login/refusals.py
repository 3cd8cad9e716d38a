"""
Tells an operator in one sentence why a connection to Kafka failed.

`refusal_of` turns the error of a failed connection into a sentence that names the setting to check.  `Refusals`
remembers the latest refusal of each address, and decides when a refused login may be tried again.
"""

import asyncio
import errno
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from connector.config.options import either
from connector.config.worker import SASL_MECHANISMS

LOGIN_RETRY_SECS = 1.0
LOGIN_RETRY_SECS_MAX = 10.0
"""
Most time between two tries of a refused login (seconds).

More tries with a wrong password could lock the account; a corrected password is noticed after this time at the latest.
"""

_SAID_CHARACTERS_MAX = 200
_TLS_ALERT = 0x1503
"""The first two bytes of a TLS alert; aiokafka reads them as part of a frame's length."""

_HTTP = int.from_bytes(b"HTTP")

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_NOT_YET_VALID, _EXPIRED, _OTHER_NAMES = 9, 10, frozenset({62, 64})
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})

_URL = "CONNECTOR_BROKER_URL"
_PROTOCOL = "CONNECTOR_KAFKA_SECURITY_PROTOCOL"
_USERNAME, _PASSWORD = "CONNECTOR_KAFKA_SASL_USERNAME", "CONNECTOR_KAFKA_SASL_PASSWORD"
_CA, _CERT, _KEY = (f"CONNECTOR_KAFKA_SSL_{what}_FILE" for what in ("CA", "CERT", "KEY"))


class TokenRefused(Exception):
    """The token endpoint gives no token; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is known about a failed connection; *answered*: Kafka has answered the connection's first request."""

    host: str
    port: int
    protocol: str
    mechanism: str = ""
    user: str | None = None
    secret: str | None = None
    offered: Sequence[str] = ()
    certificate: bool = False
    answered: bool = False
    timeout_secs: float = 0.0

    @property
    def address(self) -> str:
        return address_of(self.host, self.port)

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    One sentence on why there is no connection to *address*.

    *login*: the login was refused, so each further try may count against the account.  *away*: no broker is there, as
    during a restart.
    """

    address: str
    sentence: str
    login: bool = False
    away: bool = False


class ConnectionRefused(KafkaConnectionError):
    """There is no connection to Kafka; the message is a sentence that says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal

    def __str__(self) -> str:
        return self.refusal.sentence


def address_of(host: str, port: int) -> str:
    """Return `host:port` in the form of `CONNECTOR_BROKER_URL`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def words_of(error: BaseException) -> str:
    """Return a text for operators that says what *error* means."""
    if isinstance(error, ConnectionRefused | TokenRefused):
        return str(error)
    if isinstance(error, TimeoutError) and not str(error):
        return "Kafka has not answered in time"
    return str(error) or type(error).__name__


def refusal_of(error: BaseException, attempt: Attempt) -> Refusal:
    """Return why *attempt* failed with *error*."""
    where = f"Kafka at {attempt.address}"
    match error:
        case TokenRefused():
            return Refusal(address=attempt.address, sentence=str(error), login=True)
        case SaslAuthenticationFailed():
            return Refusal(address=attempt.address, sentence=_login(error, attempt), login=True)
        case UnsupportedSaslMechanismError():
            sentence = _mechanism(attempt)
        case IllegalSaslStateError():
            sentence = (
                f"{where} takes no login on this port: set {_PROTOCOL} to {'SSL' if attempt.tls else 'PLAINTEXT'}, or"
                f" name a port with a login in {_URL}."
            )
        case _:
            return _of_network(_root(error), attempt)
    return Refusal(address=attempt.address, sentence=sentence)


def _of_network(error: BaseException, attempt: Attempt) -> Refusal:
    where = f"Kafka at {attempt.address}"
    away = False
    if isinstance(error, ssl.SSLCertVerificationError):
        sentence = _certificate(error, attempt)
    elif isinstance(error, ssl.SSLError) and _refuses_ours(error):
        sentence = _our_certificate(error, attempt)
    elif isinstance(error, socket.gaierror):
        sentence = (
            f"The host name {attempt.host} cannot be resolved: check {_URL}, or advertised.listeners of the broker."
        )
        away = True
    elif isinstance(error, TimeoutError):
        sentence = (
            f"{where} has not answered within {attempt.timeout_secs:g} s: check {_URL}, firewalls on the way, and"
            " whether the broker hangs."
        )
        away = True
    elif isinstance(error, OSError) and _is_absence(error):
        sentence = f"Nothing listens at {attempt.address}: start the broker, or check {_URL}."
        away = True
    elif isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}:
        sentence = f"{attempt.address} cannot be reached ({error.strerror}): check {_URL} and the network."
        away = True
    elif isinstance(error, OSError | EOFError):
        sentence = _closed(error, attempt)
    else:
        sentence = (
            f"{where} answers the login in a way that this version does not understand ({type(error).__name__}): check"
            f" that {_URL} names a Kafka broker."
        )
    return Refusal(address=attempt.address, sentence=sentence, away=away)


def _root(error: BaseException) -> BaseException:
    """Return the error that ended the connection, from behind aiokafka's own error."""
    while isinstance(error, KafkaError) and error.__cause__ is not None:
        error = error.__cause__
    return ConnectionResetError() if isinstance(error, KafkaConnectionError) else error


def _login(error: SaslAuthenticationFailed, attempt: Attempt) -> str:
    said = _said(error.args[0] if error.args else None, attempt)
    if attempt.mechanism == "OAUTHBEARER":
        return (
            f"Kafka at {attempt.address} refuses the token{said}: check that the broker trusts the service at"
            " CONNECTOR_KAFKA_OAUTH_TOKEN_URL, and CONNECTOR_KAFKA_OAUTH_SCOPE."
        )
    return (
        f"Kafka at {attempt.address} refuses the login of {attempt.user} with {attempt.mechanism}{said}: check"
        f" {_USERNAME} and {_PASSWORD}, or the user in {_URL}."
    )


def _said(words: object, attempt: Attempt) -> str:
    """Return the broker's message *words* in brackets, or "" without one; a secret that it repeats is hidden."""
    text = "".join(character for character in str(words or "") if character.isprintable()).strip().rstrip(".")
    if attempt.secret:
        text = text.replace(attempt.secret, "[hidden]")
    return f" ({text[:_SAID_CHARACTERS_MAX]})" if text else ""


def _mechanism(attempt: Attempt) -> str:
    where = f"Kafka at {attempt.address}"
    offers = " and ".join(sorted(attempt.offered)) or "no mechanism"
    possible = [mechanism for mechanism in SASL_MECHANISMS if mechanism in attempt.offered]
    if not possible:
        return f"{where} offers {offers}, none of which this version has: name another port in {_URL}."
    return (
        f"{where} offers {offers}, not {attempt.mechanism}: set CONNECTOR_KAFKA_SASL_MECHANISM to {either(possible)}."
    )


def _certificate(error: ssl.SSLCertVerificationError, attempt: Attempt) -> str:
    whose = f"The certificate of Kafka at {attempt.address}"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return (
            f"{whose} is not signed by an authority that this worker knows: set {_CA} to the PEM file of the authority"
            " that has signed it."
        )
    if error.verify_code in _OTHER_NAMES:
        return (
            f"{whose} is for another host name: write the name that stands in the certificate into {_URL}, or correct"
            " the certificate or advertised.listeners of the broker."
        )
    if error.verify_code == _EXPIRED:
        return f"{whose} has expired: renew it at the broker, or check the clock of this machine."
    if error.verify_code == _NOT_YET_VALID:
        return f"{whose} is not valid yet: check the clocks of the broker and of this machine."
    return f"{whose} is not accepted ({error.verify_message}): check {_CA}."


def _refuses_ours(error: ssl.SSLError) -> bool:
    reason = error.reason or ""
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _our_certificate(error: ssl.SSLError, attempt: Attempt) -> str:
    where = f"Kafka at {attempt.address}"
    if not attempt.certificate:
        return f"{where} wants a client certificate: set {_CERT} and {_KEY}."
    words = (error.reason or "").partition("ALERT_")[2].replace("_", " ").lower()
    return (
        f"{where} refuses our client certificate ({words}): {_CERT} must name one that has not expired and that an"
        " authority of the broker has signed."
    )


def _is_absence(error: OSError) -> bool:
    if error.errno is None and str(error).startswith("Multiple exceptions: "):  # asyncio's error for several addresses
        return str(error).count("[Errno") == str(error).count(f"[Errno {errno.ECONNREFUSED}]")
    return error.errno == errno.ECONNREFUSED


def _closed(error: OSError | EOFError, attempt: Attempt) -> str:
    where = f"Kafka at {attempt.address}"
    expected = error.expected or 0 if isinstance(error, asyncio.IncompleteReadError) else 0
    if expected >> 16 == _TLS_ALERT:
        secure = "SASL_SSL" if attempt.sasl else "SSL or SASL_SSL"
        return f"The port {attempt.address} speaks TLS: set {_PROTOCOL} to {secure}."
    if expected == _HTTP:
        return f"What listens at {attempt.address} is a web server: write the port of a Kafka broker into {_URL}."
    if attempt.answered:
        return _closed_later(where, attempt)
    if not attempt.tls:
        return f"{where} ends the connection at once: the port may speak TLS ({_PROTOCOL}), or not be Kafka's ({_URL})."
    if isinstance(error, asyncio.IncompleteReadError):  # after the TLS handshake
        return f"{where} ends the connection at once: it may want a client certificate ({_CERT}, {_KEY})."
    plain = "SASL_PLAINTEXT" if attempt.sasl else "PLAINTEXT"
    return f"The port {attempt.address} speaks no TLS: set {_PROTOCOL} to {plain}, or name a port with TLS in {_URL}."


def _closed_later(where: str, attempt: Attempt) -> str:
    if attempt.sasl:
        return f"{where} ends the connection during the login: check {_USERNAME}, and look into the broker's log."
    protocol = "SASL_SSL" if attempt.tls else "SASL_PLAINTEXT"
    return (
        f"{where} ends the connection at the first request, so it wants a login: set {_PROTOCOL} to {protocol},"
        f" {_USERNAME} and {_PASSWORD}."
    )


class Refusals:
    """The latest refusal of each address, until a connection to it is open; *clock* gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[str, tuple[Refusal, float]] = {}
        self._opened_at = -math.inf
        self._login_retry_secs = 0.0
        self._login_from = 0.0
        self._login_refusal: Refusal | None = None

    def note(self, refusal: Refusal) -> None:
        """Remember *refusal*; after a refused login the next try waits some seconds, longer each time."""
        now = self._clock()
        self._latest[refusal.address] = refusal, now
        if refusal.login:
            self._login_refusal = refusal
            self._login_retry_secs = min(self._login_retry_secs * 2 or LOGIN_RETRY_SECS, LOGIN_RETRY_SECS_MAX)
            self._login_from = now + self._login_retry_secs

    def opened(self, address: str) -> None:
        """Take note that a connection to *address* is open, login included."""
        self._latest.pop(address, None)
        self._opened_at = self._clock()
        self._login_retry_secs, self._login_refusal = 0.0, None

    def held_back(self) -> Refusal | None:
        """
        Return the refusal because of which no login may be tried now; None if the caller may try one.

        While a login stands refused, one caller at a time gets None.
        """
        now = self._clock()
        if self._login_refusal is not None:
            if now < self._login_from:
                return self._login_refusal
            self._login_from = now + self._login_retry_secs
        return None

    def of(self, address: str) -> Refusal | None:
        """Return the latest refusal of *address*."""
        return self._latest.get(address, (None, 0.0))[0]

    def current(self, within_secs: float) -> Refusal | None:
        """
        Return a refusal of the last *within_secs*, unless a connection was opened after it.

        A refusal that waiting does not cure comes before one that waiting cures.
        """
        since = max(self._clock() - within_secs, self._opened_at)
        recent = [(not refusal.away, at, refusal) for refusal, at in self._latest.values() if at >= since]
        return max(recent, key=lambda entry: entry[:2])[2] if recent else None
