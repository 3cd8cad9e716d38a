"""
How do requests go out?  What all sessions have in common: whom they trust, what they carry, and what they keep.

The environment's usual names work: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (by requests), and for the
authorities that are trusted instead of certifi's `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` (by requests), then
`SSL_CERT_FILE` and `SSL_CERT_DIR` (OpenSSL's own, which requests does not know).
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
    No authentication but the header that is already there.

    Without an `auth`, requests looks into ~/.netrc, and would put what it finds there in place of the token.
    """

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


def prepare(session: requests.Session, wire: Wire) -> None:
    """Make *session* one of ours, with its sockets on *wire*."""
    session.headers["User-Agent"] = USER_AGENT
    # not what else may be installed: these are the ones that are tested
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.auth = KeepHeader()
    # an API has no use for cookies, and a host that sets more and more of them would fill the jar and the requests
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.hooks["response"].append(_stay)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(wire))


def _stay(response: requests.Response, **_: Any) -> None:
    # even where redirects are not followed requests reads the whole body of one, however long, to prepare the next step
    response.headers.pop("location", None)


def trust_problem() -> InvalidRequest | None:
    """Return what is wrong with the authorities that the environment names; None if they can be read."""
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
    """An adapter that trusts whom OpenSSL's variables name, unless requests' own do."""

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do what requests does; it offers this method for subclasses."""
        file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if verify is not True or not (file or folders) or not url.lower().startswith("https"):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # types-requests leaves it out
            return
        conn.cert_reqs = "CERT_REQUIRED"
        # OpenSSL itself takes several folders, as they stand in SSL_CERT_DIR
        conn.ca_certs, conn.ca_cert_dir = file, folders
