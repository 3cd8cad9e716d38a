"""Checks and normalises hosts, ports and URLs of brokers and of the web interface."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from connector.config.options import (
    Unfit,
    items,
    shown,
)
from connector.config.secret import Secret

API_URL = "https://api.x.com"
BROKER_PORT = 9092
_BROKER_SCHEMES = frozenset({"kafka", "aiokafka"})


@dataclass(frozen=True, slots=True)
class Brokers:
    url: str
    username: str | None
    password: Secret | None


def is_loopback(host: str) -> bool:
    """Return whether *host* can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def netloc(host: str, port: int | str) -> str:
    """Return `host:port` as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parts_of(url: str) -> SplitResult | None:
    """Return the parts of an address on the web with a host; None if *url* is something else."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts if host and parts.scheme in {"http", "https"} and url.isprintable() and " " not in url else None


def parse_api_url(url: str) -> str:
    """
    Return the address *url* of X's API, or of what stands in for it, without a slash at its end.

    Raises:
        Unfit: *url* is something else; the sentence does not show it, as it may hold a password.
    """
    parts = parts_of(url)
    if parts is None:
        raise Unfit(f"must be a URL such as {API_URL}.")
    if parts.username is not None or parts.query or parts.fragment:
        raise Unfit(f"must be a URL without user, query and fragment, such as {API_URL}.")
    return url.rstrip("/")


def parse_api_urls(listing: str) -> tuple[str, ...]:
    """Return the URLs of a comma-separated *listing*, each as `parse_api_url` reads it, or `*`."""
    return tuple(dict.fromkeys(url if url == "*" else parse_api_url(url) for url in items(listing)))


def parse_rest_url(url: str) -> str:
    """
    Return the URL of a worker's REST API without a slash at its end.

    Raises:
        Unfit: *url* is something else; the sentence does not show it, as it may hold a password.
    """
    try:
        return parse_api_url(url)
    except Unfit:
        raise Unfit("must be a URL without user, query and fragment, such as http://127.0.0.1:8083.") from None


def parse_bind(host: str) -> str:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9.-]+", host):
            raise Unfit(f"cannot be {shown(host)}: use an address such as 127.0.0.1, or a host name.") from None
    return host.strip("[]")


def parse_web_hosts(listing: str) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(host.lower().strip("[]").removesuffix(".") for host in items(listing)))
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not re.fullmatch(r"[a-z0-9._-]+", host):
                raise Unfit(
                    f"cannot have {shown(host)}: use host names or addresses such as birds.example.com, without scheme"
                    " and port."
                ) from None
    return hosts


def parse_token_url(url: str) -> str:
    # The text may hold a secret, so no message shows it.
    parts = parts_of(url)
    if parts is None:
        raise Unfit("must be a URL such as https://login.example.com/oauth2/token.")
    if parts.username is not None or parts.fragment:
        raise Unfit("must be a URL without user and fragment: CONNECTOR_KAFKA_OAUTH_CLIENT_ID says who asks.")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise Unfit("would send the client secret unencrypted: use https.")
    return url


def parse_brokers(listing: str) -> Brokers:
    """
    Read a list of brokers; return the user and the password apart from the addresses.

    Raises:
        Unfit: *listing* is not such a list, or has more than one user.
    """
    urls, logins = [], set()
    for entry in (entry.strip() for entry in re.split("[,;]", listing)):
        if not entry:
            continue
        try:
            parts = urlsplit(entry if "://" in entry else f"kafka://{entry}")
            host, port = parts.hostname, parts.port or BROKER_PORT
        except ValueError:
            host = None
        # The entry may hold a password, so it is not shown.
        if not host or parts.scheme not in _BROKER_SCHEMES or parts.path.strip("/") or parts.query or parts.fragment:
            raise Unfit("must be a list of brokers such as kafka://one:9092;kafka://two:9092.")
        urls.append(f"kafka://{netloc(host, port)}")
        if parts.username is not None:
            logins.add((unquote(parts.username), unquote(parts.password or "")))
    if not urls:
        raise Unfit("must be a list of brokers such as kafka://one:9092;kafka://two:9092.")
    if len(logins) > 1:
        raise Unfit("has several users: a worker logs in to all brokers as one.")
    username, password = next(iter(logins), (None, None))
    return Brokers(";".join(urls), username, None if password is None else Secret(password))
