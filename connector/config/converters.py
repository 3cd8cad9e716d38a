"""
Understands how Kafka Connect names the formats of keys and values, and says what to write instead.

    value.converter                              value.format
    org.apache.kafka.connect.json.JsonConverter, storage.StringConverter, converters.ByteArrayConverter    json
    io.confluent.connect.avro.AvroConverter                                                                avro
    io.confluent.connect.json.JsonSchemaConverter                                                          json_schema
    io.confluent.connect.protobuf.ProtobufConverter                                                        protobuf

`schemas.enable=true` of the JsonConverter is `value.shape=connect`.  Options of the converters for the schema registry
become ours.  What has no equivalent is refused if it asks for something else than what happens here.
"""

from collections.abc import Mapping

from connector.config.framework import CONVERTERS, JSON_CONVERTER, SCHEMA_CONVERTERS
from connector.config.migration import Translated
from connector.config.options import Problem, shown

VALUE = "value.converter"
KEY = "key.converter"
FORMAT = "value.format"
SHAPE = "value.shape"
SCHEMAS, KEY_SCHEMAS = f"{VALUE}.schemas.enable", f"{KEY}.schemas.enable"

_REGISTRY = "schema.registry."
_RENAMED: Mapping[str, str] = {
    "schema.registry.url": "schema.registry.url",
    "basic.auth.user.info": "schema.registry.basic.auth.user.info",
    "schema.registry.basic.auth.user.info": "schema.registry.basic.auth.user.info",
    "bearer.auth.token": "schema.registry.bearer.auth.token",
    "auto.register.schemas": "auto.register.schemas",
    "use.latest.version": "use.latest.version",
    "normalize.schemas": "normalize.schemas",
    "value.subject.name.strategy": "value.subject.name.strategy",
    "schema.registry.ssl.truststore.location": "schema.registry.ssl.ca.location",
    "schema.registry.ssl.keystore.location": "schema.registry.ssl.certificate.location",
    "schema.registry.ssl.key.password": "schema.registry.ssl.key.password",
}
"""Options of Confluent's converters, without `value.converter.`, and ours that mean the same."""

_ONLY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "basic.auth.credentials.source": (
        ("USER_INFO",),
        "write the login into schema.registry.basic.auth.user.info, as user:password",
    ),
    "bearer.auth.credentials.source": (
        ("STATIC_TOKEN",),
        "write the token into schema.registry.bearer.auth.token",
    ),
    "schema.registry.ssl.truststore.type": (("PEM",), "export the authorities as PEM"),
    "schema.registry.ssl.keystore.type": (("PEM",), "export certificate and key as PEM, into one file"),
}
"""Options that say where a login or a certificate comes from: what they may be here, and the cure for others."""

_WITHOUT_EFFECT = frozenset(
    {
        *("schemas.enable", "schemas.cache.size", "schemas.cache.config", "schema.content", "decimal.format"),
        *("replace.null.with.default", "converter.type", "enhanced.avro.schema.support", "connect.meta.data"),
        *("latest.compatibility.strict", "scrub.invalid.names", "generalized.sum.type.support", "plugin.version"),
    }
)
"""
Options that change nothing for a value as it is here.

`schemas.enable` is one as well: only the JsonConverter has it, and for that it is looked at before.
"""


def understood(texts: Mapping[str, str]) -> Translated:
    """Return *texts* with our options in the place of those of Connect's converters."""
    if not any(name.startswith((VALUE, KEY, "header.converter")) for name in texts):
        return Translated(texts=texts)
    reading = _Reading(texts)
    reading.work()
    return Translated(
        texts=reading.texts,
        spelled=reading.spelled,
        notices=tuple(reading.notices),
        problems=tuple(reading.problems),
    )


class _Reading:
    """One configuration as it is being understood."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self.spelled: dict[str, str] = {}
        self.notices: list[str] = []
        self.problems: list[Problem] = []

    def work(self) -> None:
        self._schemas_enabled()
        self._value_class()
        self._key_class()
        self.texts.pop("header.converter", None)
        for name, (allowed, cure) in _ONLY.items():
            self._only(f"{VALUE}.{name}", allowed, cure)
        for name, ours in _RENAMED.items():
            self._rename(f"{VALUE}.{name}", ours)
        for name in [name for name in self.texts if name.startswith((f"{VALUE}.", f"{KEY}.", "header.converter."))]:
            if name.split(".converter.", 1)[1] in _WITHOUT_EFFECT or not name.startswith(VALUE):
                del self.texts[name]

    def _schemas_enabled(self) -> None:
        """Make of a JsonConverter that writes schemas a shape of values; it is the converter if none is named."""
        text = self.texts.get(SCHEMAS, "").strip().lower()
        if text != "true" or self.texts.get(VALUE, "").strip() not in {"", JSON_CONVERTER}:
            return
        value_format, shape = (self.texts.get(option, "").strip().lower() for option in (FORMAT, SHAPE))
        if value_format not in {"", "json"}:
            self.notices.append(f"{SCHEMAS}=true has no effect, as {FORMAT} is {value_format}: remove it.")
        elif shape == "envelope":
            self.problems.append(
                Problem(SCHEMAS, f"{SCHEMAS}=true means {SHAPE}=connect, and {SHAPE} is {shape}: remove one of them.")
            )
        else:
            self.texts[SHAPE], self.spelled[SHAPE] = "connect", SCHEMAS

    def _value_class(self) -> None:
        name = self.texts.get(VALUE, "").strip()
        if name and name not in CONVERTERS and name not in SCHEMA_CONVERTERS:
            return  # unknown, as the framework's check says
        self.texts.pop(VALUE, None)
        chosen, wanted = self.texts.get(FORMAT, "").strip().lower(), SCHEMA_CONVERTERS.get(name)
        if wanted is None:
            if name and chosen not in {"", "json"}:
                self.notices.append(f"{VALUE}={name} has no effect, as {FORMAT} is {chosen}: remove it.")
        elif chosen not in {"", wanted}:
            self.problems.append(
                Problem(VALUE, f"{VALUE}={name} means {FORMAT}={wanted}, and {FORMAT} is {chosen}: remove one of them.")
            )
        elif not chosen:
            self.texts[FORMAT], self.spelled[FORMAT] = wanted, VALUE

    def _key_class(self) -> None:
        name = self.texts.get(KEY, "").strip()
        if name == JSON_CONVERTER and self.texts.get(KEY_SCHEMAS, "").strip().lower() == "true":
            self.problems.append(
                Problem(KEY_SCHEMAS, f"{KEY_SCHEMAS} cannot be true: keys are written as text here, without a schema.")
            )
        elif name == JSON_CONVERTER:
            says = f"writes keys as text here, without quotes: {CONVERTERS[1]} says the same."
            self.notices.append(f"{KEY}={name} {says}")
        if name in SCHEMA_CONVERTERS:
            self.problems.append(
                Problem(KEY, f"{KEY} cannot be {name}: keys are written as text here, so use {CONVERTERS[1]}.")
            )
        if not name or name in CONVERTERS or name in SCHEMA_CONVERTERS:
            self.texts.pop(KEY, None)

    def _only(self, name: str, allowed: tuple[str, ...], cure: str) -> None:
        text = self.texts.pop(name, "").strip()
        if text and text.upper() not in allowed:
            self.problems.append(Problem(name, f"{name} cannot be {shown(text)} here: {cure}."))

    def _rename(self, name: str, ours: str) -> None:
        text = self.texts.pop(name, "")
        if not text.strip():
            return
        if self.texts.get(ours, "").strip():
            self.notices.append(f"{name} is not used, as {self.spelled.get(ours, ours)} is set: remove it.")
            return
        self.texts[ours], self.spelled[ours] = text, name
