"""
The setup of all sessions: trusted authorities, headers, and no cookies, redirects or passwords from ~/.netrc.

The usual variables of the environment work.  For proxies, requests reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
`NO_PROXY`.  For authorities that are trusted instead of certifi's, requests reads `REQUESTS_CA_BUNDLE` and
`CURL_CA_BUNDLE`; if they are not set, this module reads OpenSSL's `SSL_CERT_FILE` and `SSL_CERT_DIR`.
"""

import os
import ssl
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests

from connector import __version__
from connector.errors import InvalidRequest
from connector.sources.http.wire import Wire, WireAdapter

USER_AGENT = f"murmuration-connector/{__version__}"

CERTIFICATE_CURE = (
    "if a proxy of yours signs for it, name the file with the proxy's authority in SSL_CERT_FILE (or a folder in"
    " SSL_CERT_DIR)"
)


class KeepHeader(requests.auth.AuthBase):
    """
    Keeps the `Authorization` header that is already there.

    If a session has no `auth`, requests replaces the token by a password from ~/.netrc, if it has one for the host.
    """

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


def prepare(session: requests.Session, wire: Wire) -> None:
    """Set up *session* for requests to X; its sockets are reported to *wire*."""
    session.headers["User-Agent"] = USER_AGENT
    # only the encodings that are tested, even if urllib3 could unpack more
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.auth = KeepHeader()
    # an API needs no cookies; a host that sets ever more cookies would fill memory and requests
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.hooks["response"].append(_stay)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(wire))


def _stay(response: requests.Response, **_: Any) -> None:
    # requests prepares the next step of a redirect even if it does not follow it, and reads the whole body for that
    response.headers.pop("location", None)


def trust_problem() -> InvalidRequest | None:
    """Return an error if the certificates that the environment names cannot be read, else None."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if place := os.environ.get(name):
            return _unreadable(name, place, is_folder=Path(place).is_dir())
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    problem = _unreadable("SSL_CERT_FILE", file, is_folder=False) if file else None
    if folders and not file and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        problem = _unreadable("SSL_CERT_DIR", folders, is_folder=False)
    return problem


def _unreadable(name: str, place: str, *, is_folder: bool) -> InvalidRequest | None:
    try:
        if is_folder:
            os.listdir(place)  # noqa: PTH208 - only whether it may be read
        else:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=place)
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        return InvalidRequest(
            f"{name} is {place}, from which no certificates can be read ({why}), so nothing can be asked of X: name a"
            " PEM file, or a folder made by `openssl rehash`"
        )
    return None


class _Adapter(WireAdapter):
    """An adapter that trusts the authorities in OpenSSL's variables, unless requests' own variables are set."""

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Set the trusted authorities of *conn*; requests offers this method for subclasses."""
        file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if verify is not True or not (file or folders) or not url.lower().startswith("https"):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # types-requests leaves it out
            return
        conn.cert_reqs = "CERT_REQUIRED"
        # SSL_CERT_DIR may name several folders; OpenSSL itself takes them in this form
        conn.ca_certs, conn.ca_cert_dir = file, folders
