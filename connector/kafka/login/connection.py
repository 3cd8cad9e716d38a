"""
aiokafka's connection, with errors that tell an operator why it failed.

Every client of aiokafka, also Faust's, opens its connections with this class.  A failure is a `ConnectionRefused` whose
message is a sentence for operators; `REFUSALS` keeps the latest ones.  The bytes of a login never appear in a log.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiokafka import client
from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed
from aiokafka.protocol import admin

from connector.kafka import internals
from connector.kafka.login.refusals import (
    Attempt,
    ConnectionRefused,
    Refusal,
    Refusals,
    TokenRefused,
    address_of,
    refusal_of,
)
from connector.kafka.login.tls import TlsContext

REFUSALS = Refusals()
"""
The refusals of this process, which logs in to one Kafka as one user.

It is global because aiokafka's clients have no place for it.
"""

_FAILURES = (OSError, EOFError, KafkaError, TimeoutError, TokenRefused, ValueError, KeyError, AssertionError)
"""The errors of `connect`; the last three come from answers to a login that aiokafka does not expect."""

CLOSE_SECS = 1.0
_FETCH = 1
_FIRST_REQUEST = 2
"""The id of the first request after ApiVersions, which Kafka answers before a login."""


class Connection(AIOKafkaConnection):
    """A connection to one broker that says why it is refused."""

    _offered: tuple[str, ...] = ()
    _connecting = False

    async def connect(self) -> Any:
        """
        Raises:
            ConnectionRefused: the connection failed; the message is a sentence with the reason.
        """
        if self._security_protocol.startswith("SASL") and (refusal := REFUSALS.held_back()) is not None:
            raise ConnectionRefused(refusal)
        self._connecting = True
        try:
            streams = await super().connect()
        except _FAILURES as exc:
            if self._protocol is not None:
                await asyncio.wait([self._closed_fut], timeout=CLOSE_SECS)  # no socket is left behind
            refusal = refusal_of(exc, self._attempt(answered=bool(self._versions)))
            REFUSALS.note(refusal)
            raise ConnectionRefused(refusal) from exc
        self._connecting = False
        REFUSALS.opened(address_of(self.host, self.port))
        return streams

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:  # noqa: FBT001, FBT002  # aiokafka's
        answer: Awaitable[Any] = super().send(request, expect_response=expect_response)
        return self._note_offer(answer) if isinstance(request, admin.SaslHandShakeRequest) else answer

    async def _note_offer(self, answer: Awaitable[Any]) -> Any:
        handshake = await answer
        self._offered = tuple(handshake.enabled_mechanisms)
        return handshake

    def authenticator_oauth(self) -> OAuthAuthenticator:
        return _OAuthAuthenticator(sasl_oauth_token_provider=self._sasl_oauth_token_provider)

    def close(self, reason: CloseReason | None = None, exc: BaseException | None = None) -> Any:
        pending = list(self._requests)
        transport = None if self._writer is None else self._writer.transport
        at_first = reason is CloseReason.CONNECTION_BROKEN and bool(pending) and pending[0][0] == _FIRST_REQUEST
        plain = not self._security_protocol.startswith("SASL")  # else `connect` reports it
        if at_first and plain and isinstance(exc, EOFError):
            REFUSALS.note(refusal_of(exc, self._attempt(answered=True)))
        closed = super().close(reason=reason, exc=exc)
        fetching = bool(pending) and all(_is_fetch(request) for _, request, _ in pending)
        if transport is not None and (self._connecting or fetching):
            # A TLS shutdown would wait for the broker, which reads nothing until the fetch is over: 1.5 s.
            transport.abort()
        return closed

    def _attempt(self, *, answered: bool) -> Attempt:
        context = self._ssl_context
        return Attempt(
            host=self.host,
            port=self.port,
            protocol=self._security_protocol,
            mechanism=self._sasl_mechanism or "",
            user=self._sasl_plain_username,
            secret=self._sasl_plain_password,
            offered=self._offered,
            certificate=isinstance(context, TlsContext) and context.has_certificate,
            answered=answered,
            timeout_secs=self._request_timeout,
        )


class _OAuthAuthenticator(OAuthAuthenticator):
    """Also reads the broker's answer: a broker refuses a token by a successful answer with a text (RFC 7628)."""

    async def step(self, payload: bytes | None) -> Any:
        if payload:
            raise SaslAuthenticationFailed(payload.decode(errors="replace"))
        return await super().step(payload)


def _is_fetch(request: object) -> bool:
    return getattr(request, "API_KEY", None) == _FETCH


async def _bootstrap(self: client.AIOKafkaClient) -> None:
    """
    Call aiokafka's `bootstrap`, and raise why no broker let us in: aiokafka only logs that and raises another error.

    A broker that was frozen or cut off answers without naming any broker until its controller lets it in again.
    aiokafka accepts that answer, and later fails with an AssertionError when it looks for a coordinator.

    Raises:
        ConnectionRefused: no broker let us in, or the one that answered names no broker.
    """
    try:
        await _aiokafka_bootstrap(self)
    except KafkaConnectionError as exc:
        found = {}
        for host, port, _ in self.hosts:
            address = address_of(host, port)
            refusal = REFUSALS.of(address) or Refusal(
                address=address, sentence=f"Kafka at {address} has not answered.", away=True
            )
            found[refusal.sentence] = refusal
        first = min(found.values(), key=lambda refusal: refusal.away)
        sentences = sorted(found, key=lambda sentence: found[sentence].away)
        raise ConnectionRefused(
            Refusal(address=first.address, sentence=" ".join(sentences), login=first.login, away=first.away)
        ) from exc
    if not self.cluster.brokers():
        await self.close()
        raise ConnectionRefused(_nobody_named(self))


def _nobody_named(kafka: client.AIOKafkaClient) -> Refusal:
    address = ", ".join(address_of(host, port) for host, port, _ in kafka.hosts)
    sentence = f"Kafka at {address} answers and names no broker: the one that answers is not in its cluster (again)."
    return Refusal(address=address, sentence=sentence, away=True)


def _hidden(self: object) -> str:
    return f"{type(self).__name__}([hidden])"


_aiokafka_bootstrap = internals.replace_bootstrap(_bootstrap)
internals.replace_connection(Connection)
# aiokafka logs each request at DEBUG; PLAIN sends the password itself, OAUTHBEARER the token
internals.hide_logins(_hidden)
