"""
Under which host names does the web answer, and from which pages may a browser write?

Two attacks use an operator's browser, which reaches a web interface that listens on this machine alone:

* DNS rebinding: a page's own host name is made to resolve to 127.0.0.1, and the page reads our answers as its own.
  Only the `Host` header tells: it names the page's host.
* Cross-site requests: any page may send a form to http://localhost:8083.  The `Origin` header names that page, and a
  form cannot have the content type `application/json`.
"""

import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from connector.config.addresses import is_loopback

JSON = "application/json"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@,\s]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN_CHARACTERS_MAX = 100


class Refused(Exception):
    """A request that is not answered; *status* is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_host(headers: Sequence[str], allowed: Collection[str]) -> None:
    """
    Let a request pass whose one `Host` header names this machine's loopback or is in *allowed* (in lower case).

    Raises:
        Refused: the browser of an operator may have been tricked into asking.
    """
    name, _ = _named(headers)
    if not (is_loopback(name) or name in allowed):
        raise Refused(
            403,
            f"The Host header names {_shown(name)}, which is neither this machine nor in CONNECTOR_WEB_HOSTS. Without"
            " CONNECTOR_WEB_USERS only these are answered: add the name to CONNECTOR_WEB_HOSTS, or ask for a login.",
        )


def check_origin(origins: Sequence[str], hosts: Sequence[str]) -> None:
    """
    Let a write pass that comes from no page, or from a page of the very host and port in the `Host` header.

    Raises:
        Refused: another page sent it.
    """
    if not origins:  # no browser: each sends it with every write
        return
    name, port = _named(hosts)
    try:
        (origin,) = origins
        parts = urlsplit(origin)
        standard = _DEFAULT_PORTS[parts.scheme]  # a proxy may speak TLS for us, so either scheme will do
        same = _plain(parts.hostname or "") == name and (parts.port or standard) == (port or standard)
    except (KeyError, ValueError):  # `null`, several, or no URL
        same = False
    if not same:
        raise Refused(
            403,
            f"The page {_shown(', '.join(origins))} may not change anything here: its Origin is not the Host that was"
            " asked. A proxy in front must pass on the Host header unchanged.",
        )


def check_content_type(content_type: str) -> None:
    """
    Let a write pass whose body is JSON.

    Raises:
        Refused: it says to be something else, or nothing.
    """
    if content_type != JSON:
        raise Refused(415, f"The header Content-Type must be {JSON}")


def _named(headers: Sequence[str]) -> tuple[str, int | None]:
    """Return host and port of the one `Host` header."""
    found = _HOST.fullmatch(headers[0]) if len(headers) == 1 else None
    if found is None:
        raise Refused(400, "There must be one Host header with a host name or an address, and perhaps a port")
    return _plain(found["name"]), None if found["port"] is None else int(found["port"])


def _plain(host: str) -> str:
    """Return *host* in lower case, without the brackets of an address and the dot of a name's root."""
    return host.lower().strip("[]").removesuffix(".")


def _shown(text: str) -> str:
    printable = "".join(character for character in text if character.isprintable())
    return printable[:_SHOWN_CHARACTERS_MAX] or "nothing"
