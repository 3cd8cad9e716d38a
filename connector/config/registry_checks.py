"""Checks that the options of the schema registry fit together, and may be used by who gave them."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from connector.config.addresses import is_loopback
from connector.config.certificates import Locked, check_pair
from connector.config.connector import ConnectorConfig
from connector.config.options import Conflict, Given, Unfit
from connector.config.registry import SCHEMA_FORMATS, unencrypted

_URL = "schema.registry.url"
_LOGIN = "schema.registry.basic.auth.user.info"
_TOKEN = "schema.registry.bearer.auth.token"  # noqa: S105  # a name
_SSL = "schema.registry.ssl."


def registry_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    """Yield what is wrong between the options of the registry, the value format and the limits of REST."""
    yield from _login_conflicts(config, given)
    yield from _registration_conflicts(config, given)
    yield from _certificate_conflicts(config, given)


def _login_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    url, login, token = _URL, _LOGIN, _TOKEN
    value_format = given.name("value.format")
    if config.value_format in SCHEMA_FORMATS and not given.has(url):
        yield Conflict(
            (url, "value.format"),
            f"{given.name(url)} is required with {value_format}={config.value_format}: where the schema registry is.",
        )
    if given.has(login) and given.has(token):
        yield Conflict(
            (login, token), f"{given.name(login)} and {given.name(token)} are both set: keep one of the two logins."
        )
    for option in (login, token):
        if given.has(option) and unencrypted(config.schema_registry_url):
            yield Conflict(
                (url, option), f"{given.name(url)} would send {given.name(option)} unencrypted: use https, or no login."
            )
    refused = [] if given.limits is None else [each for each in config.schema_registry_url if not _allowed(each, given)]
    if refused:
        yield Conflict(
            (url,),
            f"{given.name(url)} may be an address of the worker's own machine, or what"
            " CONNECTOR_ALLOWED_REGISTRY_URLS of the worker lists: the login for the registry is sent there.",
        )


def _registration_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    if config.stream in {"compliance", "recheck"} and config.value_format in SCHEMA_FORMATS:
        value_format, stream = given.name("value.format"), given.name("stream")
        yield Conflict(
            ("value.format", "stream"),
            f"{value_format}={config.value_format} does not work with {stream}={config.stream}, which brings no"
            " posts: remove it. Its tombstones fit topics of any format.",
        )
    if config.use_latest_version and config.auto_register_schemas:
        latest, register = given.name("use.latest.version"), given.name("auto.register.schemas")
        yield Conflict(
            ("use.latest.version", "auto.register.schemas"),
            f"{latest}=true works only with {register}=false: either the latest version is used, or ours is"
            " registered.",
        )
    if config.schema_compatibility is not None and not config.auto_register_schemas:
        yield Conflict(
            ("schema.compatibility", "auto.register.schemas"),
            f"{given.name('schema.compatibility')} works only with {given.name('auto.register.schemas')}=true: who"
            " registers the schemas sets it.",
        )


def _certificate_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    authorities, certificate, key, password = (
        f"schema.registry.ssl.{each}"
        for each in ("ca.location", "certificate.location", "key.location", "key.password")
    )
    for option in (key, password):
        if given.has(option) and not given.has(certificate):
            yield Conflict((option, certificate), f"{given.name(certificate)} is required with {given.name(option)}.")
    for option in (authorities, certificate):
        if given.has(option) and any(url.startswith("http:") for url in config.schema_registry_url):
            yield Conflict(
                (option, _URL),
                f"{given.name(option)} works only with https, and {given.name(_URL)} has http: use https.",
            )
    path, key_path = config.schema_registry_certificate, config.schema_registry_key
    if path is None:
        return
    secret = config.schema_registry_key_password
    try:
        check_pair(path, key_path or path, None if secret is None else secret.reveal())
    except Locked:
        cure = "does not open the private key." if given.has(password) else "is required: the private key is locked."
        yield Conflict((password, key, certificate), f"{given.name(password)} {cure}")
    except Unfit as unfit:
        yield from (Conflict((key, certificate), f"{given.name(key)} {rest}") for rest in unfit.rests)


def _allowed(url: str, given: Given) -> bool:
    return given.limits is None or is_loopback(urlsplit(url).hostname or "") or given.limits.allows_registry(url)
