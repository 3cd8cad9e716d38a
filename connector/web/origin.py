"""
Checks headers: which host names the web answers, from which pages a browser may write, and which types it speaks.

Two attacks use an operator's browser, which can reach a web interface that listens only on this machine:

* DNS rebinding: an attacker lets the host name of his page resolve to 127.0.0.1, so that the page can read our answers.
  Only the `Host` header shows the attack: it names the page's host.
* Cross-site requests: any page can send a form to http://localhost:8083, or a POST without a body.  The `Origin` header
  names that page, `Sec-Fetch-Site` says that it is foreign, and a form cannot have the content type `application/json`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from connector.config.addresses import is_loopback

JSON = "application/json"
ANY = "*/*"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@,\s]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*([^;]*)", re.IGNORECASE)
_SHOWN_CHARACTERS_MAX = 100


class Refused(Exception):
    """The web refuses a request; *status* is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_host(headers: Sequence[str], allowed: Collection[str]) -> None:
    """
    Check that the only `Host` header names loopback or a host in *allowed* (lower case).

    Raises:
        Refused: it names another host; a foreign page may have sent the request through an operator's browser.
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
    Check that a write comes from no page, or from a page of the same host and port as in the `Host` header.

    Raises:
        Refused: the write comes from another page.
    """
    if not origins:  # not from a browser, as browsers send the header Origin with every write
        return
    name, port = _named(hosts)
    try:
        (origin,) = origins
        parts = urlsplit(origin)
        standard = _DEFAULT_PORTS[parts.scheme]  # a proxy may add TLS, so http and https are both fine
        same = _plain(parts.hostname or "") == name and (parts.port or standard) == (port or standard)
    except (KeyError, ValueError):  # `null`, several origins, or not a URL
        same = False
    if not same:
        raise Refused(
            403,
            f"The page {_shown(', '.join(origins))} may not change anything here: its Origin is not the Host that was"
            " asked. A proxy in front must pass on the Host header unchanged.",
        )


def check_fetch_site(sites: Sequence[str]) -> None:
    """
    Check that a write was not sent by a browser on behalf of another site, as its `Sec-Fetch-Site` header says.

    Raises:
        Refused: a page of another site, or of another host or port of the same site, has sent the write.
    """
    if any(site not in {"same-origin", "none"} for site in sites):
        raise Refused(
            403, f"A page may change nothing here from elsewhere: its Sec-Fetch-Site is {_shown(', '.join(sites))}."
        )


def check_content_type(declared: Sequence[str], content_type: str, *, has_body: bool) -> None:
    """
    Check that the body of a write is declared as JSON.  A write without a body need not declare a type.

    *declared* are the `Content-Type` headers, *content_type* is the media type that they name.

    Raises:
        Refused: the type is not `application/json`; a form of a foreign page could have sent the write.
    """
    if (declared or has_body) and (len(declared) > 1 or content_type != JSON):
        raise Refused(415, f"HTTP 415 Unsupported Media Type: the header Content-Type must be {JSON}")


def check_accept(headers: Sequence[str], content_type: str) -> None:
    """
    Check that the `Accept` headers, if there are any, allow an answer of *content_type*; `ANY` is always allowed.

    Raises:
        Refused: they allow other types only.
    """
    if content_type == ANY:
        return
    kind = content_type.partition("/")[0]
    ranges = [each.partition(";")[0].strip().lower() for header in headers for each in header.split(",")]
    wanted = [each for each in ranges if each]
    if wanted and {content_type, f"{kind}/*", "*/*", "*"}.isdisjoint(wanted):
        raise Refused(406, "HTTP 406 Not Acceptable")


def prefers(headers: Sequence[str], content_type: str, other: str) -> bool:
    """
    Return whether the `Accept` headers want *content_type* more than *other*: by quality, then by what is named first.

    Headers that do not tell the two apart, such as `*/*`, want *other*.
    """
    ranges = [each.partition(";") for header in headers for each in header.split(",")]
    wanted = {media.strip().lower(): (_quality(rest), -place) for place, (media, _, rest) in enumerate(ranges)}
    return _wish(wanted, content_type) > max(_wish(wanted, other), _UNWANTED)


_Wish = tuple[float, int]
_UNWANTED: _Wish = (0.0, 1)


def _wish(wanted: Mapping[str, _Wish], content_type: str) -> _Wish:
    """Return quality and place of the most specific media range that holds *content_type*."""
    ranges = (content_type, f"{content_type.partition('/')[0]}/*", "*/*")
    return next((wanted[each] for each in ranges if each in wanted), _UNWANTED)


def _quality(parameters: str) -> float:
    """Return the quality among the *parameters* of a media range; one that is no number counts as 0."""
    found = _QUALITY.search(parameters)
    try:
        return 1.0 if found is None else float(found[1])
    except ValueError:
        return 0.0


def _named(headers: Sequence[str]) -> tuple[str, int | None]:
    """
    Return host and port of the only `Host` header.

    Raises:
        Refused: there is not exactly one header, or it is malformed.
    """
    found = _HOST.fullmatch(headers[0]) if len(headers) == 1 else None
    if found is None:
        raise Refused(400, "There must be one Host header with a host name or an address, and perhaps a port")
    return _plain(found["name"]), None if found["port"] is None else int(found["port"])


def _plain(host: str) -> str:
    """Return *host* in lower case, without the brackets of an IPv6 address and without a final dot."""
    return host.lower().strip("[]").removesuffix(".")


def _shown(text: str) -> str:
    printable = "".join(character for character in text if character.isprintable())
    return printable[:_SHOWN_CHARACTERS_MAX] or "nothing"
