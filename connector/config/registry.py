"""Reads the options of the schema registry: its addresses, logins and subjects, and what each value format needs."""

import importlib.util
from urllib.parse import urlsplit

from connector.config.addresses import is_loopback, parts_of
from connector.config.options import Parser, Unfit, choice, either, items, shown

SCHEMA_FORMATS = ("avro", "json_schema", "protobuf")
"""The value formats that need a schema registry."""

_PACKAGES = {
    "avro": ("confluent_kafka", "httpx2", "authlib", "fastavro"),
    "json_schema": ("confluent_kafka", "httpx2", "authlib"),
    "protobuf": ("confluent_kafka", "httpx2", "authlib", "google.protobuf"),
}
"""What of the extra `schema` each format imports."""

_URL_EXAMPLE = "http://registry.example.com:8081"
_URLS_MAX = 10
_STRATEGIES = ("TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy")
_COMPATIBILITIES = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)


def formats(*names: str) -> Parser:
    """One of the value formats *names*; one that needs a package that is not installed is refused."""
    known = choice(*names)
    spelled = {"jsonschema": "json_schema", "json-schema": "json_schema"}

    def parse(text: str) -> object:
        found = known.parse(spelled.get(text.lower(), text))
        for package in _PACKAGES.get(str(found), ()):
            if not _installed(package):
                raise Unfit(
                    f"cannot be {found} without the extra `schema`, as the package {package} is missing: pip install"
                    " 'murmuration-connector[schema]'."
                )
        return found

    return Parser(kind="STRING", parse=parse, choices=names)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def parse_registry_urls(listing: str) -> tuple[str, ...]:
    """
    Return the URLs of a schema registry, comma-separated in *listing*, each without a slash at its end.

    Raises:
        Unfit: one is no such URL; the sentence does not show it, as it may hold a password.
    """
    urls = tuple(dict.fromkeys(map(_registry_url, items(listing))))
    if not urls or len(urls) > _URLS_MAX:
        raise Unfit(f"must be up to {_URLS_MAX} URLs such as {_URL_EXAMPLE}, comma-separated.")
    return urls


def parse_allowed_urls(listing: str) -> tuple[str, ...]:
    """Return the URLs of a comma-separated *listing*, each as `parse_registry_urls` reads it, or `*`."""
    return tuple(dict.fromkeys(url if url == "*" else _registry_url(url) for url in items(listing)))


def _registry_url(url: str) -> str:
    parts = parts_of(url)
    if parts is None:
        raise Unfit(f"must be up to {_URLS_MAX} URLs such as {_URL_EXAMPLE}, comma-separated.")
    if parts.username is not None:
        raise Unfit(
            "must not hold a user or password, as it is shown: write them into"
            " schema.registry.basic.auth.user.info, as user:password."
        )
    if parts.query or parts.fragment:
        raise Unfit(f"must be a URL without query and fragment, such as {_URL_EXAMPLE}.")
    return url.rstrip("/")


def unencrypted(urls: tuple[str, ...]) -> bool:
    """Return whether one of *urls* sends what it is given over the network as plain text."""
    return any(urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or "") for url in urls)


def parse_login(text: str) -> str:
    """
    Return *text* if it is `user:password`.

    Raises:
        Unfit: it is not; the sentence does not show it.
    """
    if text.startswith("${"):
        raise Unfit("is a reference that nothing has resolved: give the login itself, or a file with it.")
    user, colon, _ = text.partition(":")
    if not user or not colon or not text.isprintable():
        raise Unfit("must be the user and the password with a colon between: user:password.")
    return text


def parse_bearer(text: str) -> str:
    """
    Return *text* if it can be sent as a bearer token.

    Raises:
        Unfit: it cannot; the sentence does not show it.
    """
    if text.startswith("${"):
        raise Unfit("is a reference that nothing has resolved: give the token itself, or a file with it.")
    if text.lower().startswith("bearer "):
        raise Unfit("must be the token alone: remove the word Bearer before it.")
    if not text.isascii() or not text.isprintable() or any(character.isspace() for character in text):
        raise Unfit("contains characters that no token has: copy it again, in one piece.")
    return text


def strategy() -> Parser:
    """How subjects are named; Confluent's full class names mean the same."""

    def parse(text: str) -> str:
        name = text.rpartition(".")[2]
        if name not in _STRATEGIES:
            raise Unfit(f"cannot be {shown(text)}: use {either(_STRATEGIES)}.")
        return name

    return Parser(kind="STRING", parse=parse, choices=_STRATEGIES)


def compatibility() -> Parser:
    """A level of compatibility, as the registry calls it."""
    return choice(*_COMPATIBILITIES)
