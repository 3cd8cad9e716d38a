"""The schema registry: does each of its URLs answer, and has it the schemas of the connectors, or takes them?"""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace

from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import Finding, ok, unknown, warning, wrong
from connector.config.connector import ConnectorConfig
from connector.errors import RegistryAway, SchemaRefused
from connector.formats.post.resolving import post_of
from connector.formats.schemas.form import writer_of
from connector.formats.schemas.registry import RegistrySettings, Standing, registry_settings_of
from connector.formats.schemas.subjects import subject_of
from connector.formats.schemas.writer import Unfitting, Writer, stamp_of

_AUTHORITIES = (
    "Name the file with the authority of its certificate in schema.registry.ssl.ca.location, or in SSL_CERT_FILE."
)
_CERTIFICATE = (
    "It asks for a certificate that it trusts: name it in schema.registry.ssl.certificate.location, and its key in"
    " schema.registry.ssl.key.location."
)
_NO_TLS = "It speaks no TLS there: write http:// in schema.registry.url, or the port that speaks TLS."

_TLS_CURES = (
    ("hostname mismatch", "Write a host name into schema.registry.url that its certificate has."),
    ("ip address mismatch", "Write a host name into schema.registry.url that its certificate has."),
    ("certificate has expired", "Let the registry's operator renew its certificate, and check this machine's clock."),
    ("not yet valid", "Check this machine's clock; else let the registry's operator renew its certificate."),
    ("certificate_verify_failed", _AUTHORITIES),
    ("certificate_required", _CERTIFICATE),
    ("certificate required", _CERTIFICATE),
    ("bad_certificate", _CERTIFICATE),
    ("bad certificate", _CERTIFICATE),
    ("unknown_ca", _CERTIFICATE),
    ("unknown ca", _CERTIFICATE),
    ("wrong_version_number", _NO_TLS),
    ("wrong version number", _NO_TLS),
    ("record_layer_failure", _NO_TLS),
    ("record layer failure", _NO_TLS),
)
"""Words of OpenSSL, in lower case, and what to do; the first one that is there counts."""


_LINE = b'{"data":{"id":"1212092628029698048","text":"A post.","edit_history_tweet_ids":["1212092628029698048"]}}'
"""What X sends at least: a version by which it cannot be written takes no post."""

_SECRET_MIN = 6
"""A secret with fewer characters may be part of any word: what hides it would tell it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the registry at *url* has of a subject, or why that is not known."""

    url: str
    said: Standing | RegistryAway | SchemaRefused


async def registry(case: Case) -> list[Finding]:
    """Does the schema registry answer, does it take the login, and does it have or take the schemas of the values?"""
    case.need_settings()
    found: list[Finding] = []
    for config in case.connectors:
        if (writer := writer_of(config.value_format)) is not None:
            found += await _of(config, writer)
    return found or [ok("No connector here needs a schema registry: their value.format is json.")]


async def _of(config: ConnectorConfig, writer: Writer) -> list[Finding]:
    """Return what is wrong with the registry of one connector."""
    settings = registry_settings_of(config)
    subject = subject_of(config.value_subject_name_strategy, config.topic, writer.schema.name)
    # each URL alone: Confluent's client does not tell which one has failed
    answers = await asyncio.gather(*(_ask(replace(settings, urls=(url,)), subject, writer) for url in settings.urls))
    found = _unanswered(config, answers)
    reached = next((each for each in answers if not isinstance(each.said, RegistryAway)), None)
    for each in answers:
        if isinstance(each.said, SchemaRefused):
            found.append(_refused(config, each.url, each.said, subject, first=each is reached))
    if reached is not None and isinstance(reached.said, Standing):
        found.insert(0, _judged(config, reached.url, reached.said, subject, writer))
    return [_without_secrets(each, settings) for each in found]


async def _ask(settings: RegistrySettings, subject: str, writer: Writer) -> _Answer:
    from connector.formats.schemas.confluent import ConfluentRegistry  # needs packages that json does not

    asked, (url,) = ConfluentRegistry(settings), settings.urls
    try:
        return _Answer(url, await asked.look(subject, writer.schema))
    except (RegistryAway, SchemaRefused) as error:
        return _Answer(url, error)
    finally:
        await asked.close()


def _unanswered(config: ConnectorConfig, answers: Sequence[_Answer]) -> list[Finding]:
    """Return a finding for each URL that has not answered: a worker can do without it if another one has."""
    away = [(each.url, f"{str(each.said).rstrip('.')}.") for each in answers if isinstance(each.said, RegistryAway)]
    found = []
    for url, words in away:
        if len(away) < len(answers):
            message = f"{words} Another URL of {config.name} answers, which a worker asks then."
            found.append(warning(message, _cure_of(words, url), url=url))
        else:
            message = f"{words} The posts of {config.name} wait until it answers."
            found.append(wrong(message, _cure_of(words, url), url=url))
    return found


def _cure_of(words: str, url: str) -> str:
    lower = words.lower()
    for part, cure in _TLS_CURES:
        if part in lower:
            return cure
    if "its answer is none of a schema registry" in lower:
        return (
            "Check schema.registry.url: something else answers there, or the path is missing (Apicurio's ends in"
            " /apis/ccompat/v7)."
        )
    if "server disconnected" in lower and url.startswith("https:"):
        return f"{_CERTIFICATE} If it has that, see the registry's log."
    if "server disconnected" in lower:
        return "Write https:// in schema.registry.url, if it speaks TLS there; else see the registry's log."
    if " and has not answered" in lower or "timeout" in lower:
        return "See why the registry is slow; check schema.registry.url and the network."
    return "Start the registry, or check schema.registry.url and the network."


def _refused(config: ConnectorConfig, url: str, refused: SchemaRefused, subject: str, *, first: bool) -> Finding:
    words, _, _ = str(refused).rstrip(".").partition("; check ")
    match refused.status:
        case 401 if config.schema_registry_login is None and config.schema_registry_token is None:
            cure = "Set schema.registry.basic.auth.user.info, or schema.registry.bearer.auth.token."
        case 401:
            token = config.schema_registry_token is not None
            option = "schema.registry.bearer.auth.token" if token else "schema.registry.basic.auth.user.info"
            cure = f"Check {option} of {config.name}."
        case 403:
            more = " and to register schemas there" if config.auto_register_schemas else ""
            cure = f"Allow this login to read the subject {subject} and its compatibility{more}."
        case 404:
            cure = (
                "Check schema.registry.url: something else answers there, or the path is missing (Apicurio's ends in"
                " /apis/ccompat/v7)."
            )
        case None:
            cure = "Check the files of schema.registry.ssl.* and schema.registry.url."
        case _:
            cure = "Do what the registry's words say, and check schema.registry.url."
    if first:
        return wrong(f"{words}.", cure, url=url)
    return warning(f"{words}. A worker of {config.name} asks there if the URLs before it do not answer.", cure, url=url)


def _judged(config: ConnectorConfig, url: str, has: Standing, subject: str, writer: Writer) -> Finding:
    """Return whether a worker can write by what the registry has."""
    facts = {"url": url, "subject": subject, "level": has.level, "id": has.own}
    if config.use_latest_version:
        return _latest(config, url, has, subject, writer)
    if has.own is not None:
        return ok(f"{url} has the schema of {config.name} under {subject}, with the id {has.own}.", **facts)
    if config.auto_register_schemas:
        return _registering(config, url, has, subject)
    return wrong(
        f"{url} does not have the schema of {config.name} under {subject}, and auto.register.schemas=false lets no"
        " worker register it.",
        "Register it there (docs/formats.md says how), or set auto.register.schemas=true.",
        **facts,
    )


def _registering(config: ConnectorConfig, url: str, has: Standing, subject: str) -> Finding:
    """Return whether a worker can register the schema, which the subject does not have."""
    facts = {"url": url, "subject": subject, "level": has.level}
    level = has.level or "that this login may not read"
    wanted = config.schema_compatibility
    sets = f"; it sets the level {wanted} first, in place of {level}" if wanted not in {None, has.level} else ""
    if has.latest is None:
        return ok(f"{url} has no schema under {subject} yet: a worker of {config.name} registers it{sets}.", **facts)
    if has.takes:
        words = f"{url} takes the schema of {config.name} as the next version of {subject}, by the level {level}"
        return ok(f"{words}{sets}.", **facts)
    if sets:
        return unknown(
            f"{url} refuses the schema of {config.name} under {subject} by the level {level}. A worker sets the level"
            f" {wanted} first, and no request tells what the registry says then.",
            "Start a worker, which tells the registry's words if the schema is refused.",
            **facts,
        )
    return wrong(
        f"{url} refuses the schema of {config.name}: by the level {level} it cannot follow what {subject} has.",
        "Somebody else has registered there: choose another topic or value.subject.name.strategy, lower the subject's"
        " level with schema.compatibility, or write by the version that is there: auto.register.schemas=false and"
        " use.latest.version=true.",
        **facts,
    )


def _latest(config: ConnectorConfig, url: str, has: Standing, subject: str, writer: Writer) -> Finding:
    """Return whether posts can be written by the latest version, whoever registered it."""
    facts = {"url": url, "subject": subject, "level": has.level}
    if has.latest is None:
        return wrong(
            f"{url} has no schema under {subject}, and use.latest.version=true of {config.name} writes by the latest"
            " version.",
            "Let its owner register one, or set use.latest.version=false and auto.register.schemas=true.",
            **facts,
        )
    cure = (
        "Register a version that has the required fields of docs/schema.md, or set use.latest.version=false, with"
        " another subject if this one is somebody else's."
    )
    if has.type != writer.schema.type:
        words = f"The latest version of {subject} at {url} is of type {has.type}, and {config.name} writes"
        return wrong(f"{words} {writer.schema.type}.", cure, **facts)
    try:
        stamp_of(writer, has.latest.id, has.latest.text).of(writer.body(post_of(_LINE)))
    except Unfitting as unfitting:
        return wrong(f"No post of {config.name} can be written by the latest version of {subject}: {unfitting}.", cure)
    words = f"{config.name} writes by the latest version of {subject} at {url}, with the id {has.latest.id}."
    return ok(words, **facts, id=has.latest.id)


def _without_secrets(finding: Finding, settings: RegistrySettings) -> Finding:
    """Return *finding* without login and token, which whatever answers in a registry's place may have sent back."""
    login, message = settings.login or "", finding.message
    encoded = b64encode(login.encode()).decode()
    for secret in (encoded, login, login.partition(":")[2], settings.token, settings.key_password):
        if secret and len(secret) >= _SECRET_MIN:
            message = message.replace(secret, "[hidden]")
    return replace(finding, message=message)
