"""
Asks a schema registry for the ids of schemas, with Confluent's client; a request never blocks the event loop.

Confluent's serializers would ask for an id inside the call that writes a value, and would have a coroutine for each
value.  Here the client alone is used: an id is asked for once, apart from the values.

Each answer is bounded in bytes and in time.  Nothing is repeated here: `ids` says when to ask again.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import httpx2
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient
from confluent_kafka.schema_registry import Schema as TheirSchema
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.config.connector import Compatibility
from connector.errors import ConfigError, RegistryAway, SchemaRefused
from connector.formats.schemas.internals import session_of
from connector.formats.schemas.registry import ANSWER_SECS, Registered, RegistrySettings, Standing
from connector.formats.schemas.writer import Schema

T = TypeVar("T")

ANSWER_BYTES_MAX = 2 * 1024 * 1024
"""More than any answer about one schema has."""

WORDS_MAX = 500
"""The most characters of a registry's own words in a message."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT = frozenset({40401, 40402, 40403, 40408})
"""Error codes of a registry that does not have the subject, its version, its schema, or its level of compatibility."""

_UNKNOWN_ROUTE = frozenset({404, 405})


class _Absent(SchemaRefused):
    """The registry answers, and does not have what it was asked for."""


class ConfluentRegistry:
    """A Confluent-compatible schema registry."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._client: AsyncSchemaRegistryClient | None = None
        self._limit_secs = (len(settings.urls) * 2 + 1) * ANSWER_SECS

    async def find(self, subject: str, schema: Schema) -> Registered:
        """As `Registry.find`."""
        theirs = TheirSchema(schema.text, schema.type)
        client = await self._opened()
        if self._settings.use_latest:
            latest = await self._asked(client.get_latest_version(subject), f"for the latest version of {subject}")
            text = getattr(latest.schema, "schema_str", None)
            if (found := getattr(latest.schema, "schema_type", None) or "AVRO") != schema.type:
                raise SchemaRefused(f"The latest version of {subject} in the schema registry is of type {found}.")
            return Registered(_id_in(latest), text)
        normalize = self._settings.normalize
        if not self._settings.auto_register:
            known = client.lookup_schema(subject, theirs, normalize_schemas=normalize)
            return Registered(_id_in(await self._asked(known, f"for the schema of {subject}")))
        if self._settings.compatibility is not None:
            await self._set_compatibility(client, subject, self._settings.compatibility)
        registered = client.register_schema_full_response(subject, theirs, normalize_schemas=normalize)
        return Registered(_id_in(await self._asked(registered, f"to register the schema of {subject}")))

    async def look(self, subject: str, schema: Schema) -> Standing:
        """
        Return what the registry has of *subject*, and whether it would take *schema*.  Nothing is changed there.

        Raises:
            RegistryAway, SchemaRefused: as `find`; it is no error that the registry does not have the subject.
        """
        theirs = TheirSchema(schema.text, schema.type)
        client, normalize = await self._opened(), self._settings.normalize
        try:
            latest = await self._asked(client.get_latest_version(subject), f"for the latest version of {subject}")
        except _Absent:
            return Standing(level=await self._level(client, subject))
        text = getattr(latest.schema, "schema_str", None)
        type_ = getattr(latest.schema, "schema_type", None) or "AVRO"
        has = Standing(level=await self._level(client, subject), latest=Registered(_id_in(latest), text), type=type_)
        known = client.lookup_schema(subject, theirs, normalize_schemas=normalize)
        try:
            return replace(has, own=_id_in(await self._asked(known, f"for the schema of {subject}")))
        except _Absent:
            takes = await self._takes(client, subject, theirs)
        # a registry may call it NONE where a subject has no level of its own, and hold the subject to the one of all
        level = await self._level(client, None) if not takes and has.level == "NONE" else has.level
        return replace(has, takes=takes, level=level)

    async def _takes(self, client: AsyncSchemaRegistryClient, subject: str, theirs: TheirSchema) -> bool:
        normalize, what = self._settings.normalize, f"whether {subject} takes the schema"
        try:
            judged = client.test_compatibility_all_versions(subject, theirs, normalize=normalize)
            return bool(await self._asked(judged, what))
        except SchemaRefused as refused:
            if refused.status not in _UNKNOWN_ROUTE:
                raise
        # an older registry compares with one version only
        return bool(await self._asked(client.test_compatibility(subject, theirs, normalize=normalize), what))

    async def _level(self, client: AsyncSchemaRegistryClient, subject: str | None) -> str | None:
        for asked in dict.fromkeys((subject, None)):  # a subject without a level of its own has the one of all
            with contextlib.suppress(SchemaRefused):  # who may register need not have the right to read it
                what = f"for the compatibility of {subject}" if subject else "for its compatibility"
                return str(await self._asked(client.get_compatibility(asked), what))
        return None

    async def close(self) -> None:
        """As `Registry.close`."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _set_compatibility(self, client: AsyncSchemaRegistryClient, subject: str, wanted: Compatibility) -> None:
        """Set the level of *subject*, unless it is that level already: who may read it need not have the right to."""
        try:
            found = await self._asked(client.get_compatibility(subject), f"for the compatibility of {subject}")
        except SchemaRefused as refused:
            if refused.status != 404:  # noqa: PLR2004  # the subject has no level of its own
                raise
            found = None
        if found != wanted:
            await self._asked(client.set_compatibility(subject, wanted), f"to set the compatibility of {subject}")

    async def _opened(self) -> AsyncSchemaRegistryClient:
        if self._client is None:
            loop = asyncio.get_running_loop()
            try:
                # reading authorities and certificates takes some 20 ms
                self._client = await loop.run_in_executor(None, _client_of, self._settings)
            except ConfigError as error:
                raise SchemaRefused(str(error)) from None
            except (OSError, ValueError) as error:  # a file that was there when the configuration was checked
                words = f"{type(error).__name__}: {error}"
                raise SchemaRefused(f"The certificates for the schema registry cannot be used: {words}") from None
        return self._client

    async def _asked(self, request: Coroutine[Any, Any, T], what: str) -> T:
        where = " and ".join(self._settings.urls)
        try:
            async with asyncio.timeout(self._limit_secs):
                return await request
        except SchemaRegistryError as error:
            raise _sorted(error, f"The schema registry was asked {what}", where) from None
        except TimeoutError:
            raise RegistryAway(f"The schema registry at {where} was asked {what}, and has not answered") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, _TooLong) as error:
            words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise RegistryAway(f"The schema registry at {where} cannot be asked {what}: {words[:WORDS_MAX]}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # what the client makes of an answer that does not have the form of a registry's
            raise RegistryAway(
                f"The schema registry at {where} was asked {what}, and its answer is none of a schema registry:"
                f" {type(error).__name__}"
            ) from None


def _sorted(error: SchemaRegistryError, asked: str, where: str) -> RegistryAway | SchemaRefused:
    """Return the error for an answer with an error of the registry: does waiting cure it, or a person?"""
    status, words = error.http_status_code, _words(error.error_message)
    told = f"{asked}, and {where} answers {status}: {words}"
    if status in _PASSING or not isinstance(status, int):
        return RegistryAway(told)
    if error.error_code in _ABSENT:
        return _Absent(f"{told}; check schema.registry.url, and whether the schema is registered there", status=status)
    cure = {
        401: "; check the login for the registry",
        403: "; check the rights of that login",
        404: "; check schema.registry.url, and whether the schema is registered there",
    }.get(status, "")
    return SchemaRefused(f"{told}{cure}", status=status)


def _words(message: object) -> str:
    words = message if isinstance(message, str) else json.dumps(message, default=str)
    plain = " ".join("".join(each if each.isprintable() else " " for each in words[: WORDS_MAX * 2]).split())
    return plain[:WORDS_MAX] or "no reason"


def _id_in(answer: Any) -> int:
    found = getattr(answer, "schema_id", None)
    if not isinstance(found, int) or isinstance(found, bool) or found <= 0:
        raise RegistryAway("The schema registry's answer has no id of a schema")
    return found


def _client_of(settings: RegistrySettings) -> AsyncSchemaRegistryClient:
    """Return Confluent's client, which reads no answer beyond `ANSWER_BYTES_MAX`.  Any thread."""
    client = AsyncSchemaRegistryClient(settings.client)
    session = session_of(client)
    session.headers["Accept-Encoding"] = "identity"  # a small compressed answer may be a large one
    if settings.token is not None:
        # the client itself sends a token only together with the header of a logical cluster in Confluent's cloud
        session.headers["Authorization"] = f"Bearer {settings.token}"
    session.event_hooks = {"response": [_bound]}
    return client


class _TooLong(Exception):
    """An answer has more bytes than the connector reads."""


async def _bound(response: httpx2.Response) -> None:
    if "content-encoding" in response.headers:
        raise _TooLong("the answer is compressed, which was not asked for")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer, up to `ANSWER_BYTES_MAX`."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise _TooLong(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
