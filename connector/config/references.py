"""
References to secrets in a configuration, in Connect's form, and what a configuration by REST may refer to.

    ${env:CONNECTOR_TOKEN}          a variable of the worker's environment
    ${file:/run/secrets/token}      a whole file
    ${file:/run/app.properties:key} one value of a file of Java properties, as Connect's FileConfigProvider reads it
    ${directory:/run/secrets:token} a file of a folder, as Connect's DirectoryConfigProvider reads it

References are stored and shown as they are; only the worker that uses a configuration reads what they refer to.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_REFERENCE = re.compile(r"\$\{(env|file|directory):(.+)\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference; *key* is the part after the last colon of a `file` or `directory`, if there is one."""

    provider: str
    place: str
    key: str | None = None


def reference_in(text: str) -> Reference | None:
    """Return the reference that *text* is, or None."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return None
    provider, rest = found.groups()
    place, colon, key = rest.rpartition(":")
    # a path may hold colons, a key holds no slash
    if provider == "env" or not (colon and place and key) or "/" in key:
        return Reference(provider, rest)
    return Reference(provider, place, key)


def is_reference(text: str) -> bool:
    """Return whether *text* is a reference."""
    return reference_in(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What a configuration that came by REST may refer to, and where it may send what it refers to.

    Whoever may configure a connector also chooses where its credentials are sent (`x.api.url`).  So such a
    configuration reads no variable of the worker's own settings and no file outside of *directory*, and it talks to X,
    to this machine or to one of *api_urls*, and to a schema registry on this machine or to one of *registry_urls*.
    """

    own_variables: Collection[str]
    """The variables that set the worker itself, such as passwords for Kafka and for the web interface."""
    directory: Path | None
    """The folder whose files may be read; None: no file."""
    api_urls: Collection[str]
    """The values that `x.api.url` may have besides X's own address and addresses of this machine; `*` is any."""

    registry_urls: Collection[str] = ()
    """The values that `schema.registry.url` may have besides addresses of this machine; `*` is any."""

    def refusal_of_variable(self, name: str) -> str | None:
        """Return why the variable *name* may not be read, as the rest of a sentence; None if it may."""
        if name in self.own_variables:
            return f"may not refer to {name}, which is a setting of the worker: give the secret a variable of its own."
        return None

    def refusal_of_file(self, path: Path) -> str | None:
        """Return why the file *path* may not be read, as the rest of a sentence; None if it may."""
        if self.directory is None:
            return (
                "may name a file only where the worker allows a folder of files for it: set CONNECTOR_SECRETS_DIR on"
                " each worker."
            )
        try:
            # Kubernetes mounts secrets as links inside of their folder.
            inside = path.resolve().is_relative_to(self.directory.resolve())
        except (OSError, RuntimeError, ValueError):  # a loop of links, or a null character
            inside = False
        return None if inside else "may name only files in the folder CONNECTOR_SECRETS_DIR of the worker."

    def allows_url(self, url: str) -> bool:
        """Return whether *url*, which is neither X's own nor on this machine, is one of *api_urls*."""
        return _is_one_of(url, self.api_urls)

    def allows_registry(self, url: str) -> bool:
        """Return whether *url*, which is not on this machine, is one of *registry_urls*."""
        return _is_one_of(url, self.registry_urls)


def _is_one_of(url: str, urls: Collection[str]) -> bool:
    return "*" in urls or _normal(url) in {_normal(allowed) for allowed in urls}


def _normal(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"
