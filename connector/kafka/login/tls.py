"""The TLS context of connections to Kafka, from files that may change while the worker runs."""

import contextlib
import ssl
from pathlib import Path
from typing import Any, Self

from connector.config.certificates import Locked, never_ask


class TlsContext(ssl.SSLContext):
    """A client's context; it reads certificate and key again when a file has changed, for short-lived certificates."""

    has_certificate = False
    _files: tuple[Path, Path] | None = None
    _password: str | None = None
    _stamp: tuple[object, ...] = ()

    @classmethod
    def of(cls, ca: Path | None, certificate: Path | None, key: Path | None, password: str | None) -> Self:
        """
        Return a context that trusts the authorities of *ca*, or the system's.

        Raises:
            OSError: a file cannot be read or used; the settings have checked the files before.
        """
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.create_default_context(cafile=ca).verify_flags
        if ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(ca)
        if certificate is not None and key is not None:
            context.has_certificate, context._files, context._password = True, (certificate, key), password
            context._load()
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio calls it."""
        if self._files is not None and self._stamps() != self._stamp:
            # If a file is half written or gone, the loaded pair stays in use, and the next connection looks again.
            with contextlib.suppress(OSError, Locked):
                self._load()
        return super().wrap_bio(*args, **kwargs)

    def _load(self) -> None:
        assert self._files is not None  # noqa: S101  # for the type checker
        stamps = self._stamps()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*self._files, password=never_ask(self._password))
        self.load_cert_chain(*self._files, password=never_ask(self._password))  # if this failed, half a pair would stay
        self._stamp = stamps

    def _stamps(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in self._files or ():
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)
