"""
Secrets in configurations that come by REST and lie in Kafka.

What a user writes for a secret, what lies in the topic of configurations, and what a task uses:

    ${env:CONNECTOR_TOKEN}   ──▶ the same                ──▶ the variable's text, where the task runs
    AAAA (a literal secret)  ──▶ ${sealed:…} with a key  ──▶ AAAA
                             ──▶ refused without one, as the topic may be read by whoever has the right to
    [hidden] or ******       ──▶ what is stored          ──▶ that

No answer shows a secret: `masks.hide` shows `[hidden]`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from connector.config.chain import NO_CLASSES, Catalogue
from connector.config.checks import Checked, check_given
from connector.config.faust_settings import FAUST_SETTINGS, OTHER_VARIABLES
from connector.config.keys import Keyring, is_sealed
from connector.config.masks import hide, is_secret, looks_secret
from connector.config.options import MASKS, Given, Problem, Unfit, environment_names
from connector.config.references import Limits, is_reference
from connector.config.worker import WORKER_OPTIONS, WorkerSettings
from connector.errors import ConfigError

NOTHING: Mapping[str, str] = MappingProxyType({})
_Changed = tuple[dict[str, str], tuple[Problem, ...]]


class Vault:
    """
    Turns configurations by REST into what may lie in Kafka, and back.

    *environ* and *directory* are those of this worker, which the references of a configuration refer to; *catalogue*
    has the transforms that it may name.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        environ: Mapping[str, str],
        directory: Path,
        catalogue: Catalogue = NO_CLASSES,
    ) -> None:
        self._catalogue = catalogue
        self._keys = Keyring(settings.config_key_file)
        self._plaintext = settings.config_plaintext_secrets
        self._environ, self._directory, self._topic = environ, directory, settings.names.configs
        self.limits = Limits(
            own_variables=environment_names(WORKER_OPTIONS.values()) | FAUST_SETTINGS | OTHER_VARIABLES,
            directory=settings.secrets_dir,
            api_urls=settings.allowed_api_urls,
            registry_urls=settings.allowed_registry_urls,
        )

    def seal(self, connector: str, texts: Mapping[str, str], stored: Mapping[str, str] = NOTHING) -> dict[str, str]:
        """
        Return *texts* as they may lie in Kafka, as `sealed` does.

        Raises:
            ConfigError: a literal secret would lie readable in Kafka, or a mask stands for no stored secret.
        """
        return _or_raise(self.sealed(connector, texts, stored))

    def sealed(self, connector: str, texts: Mapping[str, str], stored: Mapping[str, str] = NOTHING) -> _Changed:
        """
        Return *texts* as they may lie in Kafka, and the problems of those that may not and stay as they are.

        *stored* is the connector's present configuration there, if it has one.  Texts that mean what is stored become
        what is stored, so a configuration that changes nothing is equal to *stored*; secrets under an older key are
        sealed again with the first one.
        """

        def sealed(name: str, text: str) -> str:
            return self._sealed(connector, name, text, stored.get(name))

        return _each(sealed, texts)

    def readable(self, texts: Mapping[str, str]) -> tuple[str, ...]:
        """Return a sentence on each secret of *texts* that whoever may read the topic of configurations reads."""
        return tuple(
            f"{name} lies readable in Kafka: whoever may read the topic {self._topic} reads it. A reference such as"
            " ${env:CONNECTOR_...}, or CONNECTOR_CONFIG_KEY_FILE on each worker, would hide it."
            for name, text in texts.items()
            if is_secret(name) and text.strip() and not is_reference(text) and not is_sealed(text) and text not in MASKS
        )

    def restore(self, texts: Mapping[str, str], stored: Mapping[str, str] = NOTHING) -> dict[str, str]:
        """
        Return *texts* with what is *stored* in the place of each mask, as for validating a change.

        Raises:
            ConfigError: a mask stands for no stored secret.
        """
        return _or_raise(_each(lambda name, text: _unmasked(name, text, stored.get(name)), texts))

    def open(self, connector: str, texts: Mapping[str, str]) -> dict[str, str]:
        """
        Return *texts* as a task uses them: nothing sealed, references as they are.

        Raises:
            ConfigError: a secret is sealed with a key that this worker does not have, or was changed.
        """
        return _or_raise(self._open(connector, texts))

    def hide(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return *texts* as they may be shown."""
        return hide(texts)

    def check(self, connector: str, texts: Mapping[str, str], *, group_id: str) -> Checked:
        """Read and check *texts*, sealed or not, as this worker would use them, within the limits of REST."""
        opened, problems = self._open(connector, texts)
        given = Given(
            texts=opened, environ=self._environ, directory=self._directory, problems=problems, limits=self.limits
        )
        return check_given(given, group_id, self._catalogue)

    def _sealed(self, connector: str, name: str, text: str, stored: str | None) -> str:
        text = _unmasked(name, text, stored)
        if not looks_secret(name) or not text.strip() or is_reference(text):
            return text
        if is_sealed(text):
            if text != stored:
                raise Unfit("has the form of a stored secret and is none of this connector: give the secret itself.")
            return text if self._keys.current(text) else self._again(connector, name, text)
        if self._keys:
            same = stored is not None and self._keys.current(stored) and self._is(connector, name, stored, text)
            return stored if same and stored is not None else self._keys.seal(connector, name, text)
        if is_secret(name) and not self._plaintext:
            raise Unfit(
                "would lie readable in Kafka, where the group keeps its configurations: write a reference such as"
                " ${env:CONNECTOR_...} or ${file:...}, or set CONNECTOR_CONFIG_KEY_FILE on each worker, which encrypts"
                " it. CONNECTOR_CONFIG_PLAINTEXT_SECRETS=true accepts it as it is."
            )
        return text

    def _again(self, connector: str, name: str, sealed: str) -> str:
        """Return *sealed* under the first key; as it is where this worker lacks the key that opens it."""
        try:
            return self._keys.seal(connector, name, self._keys.open(connector, name, sealed)) if self._keys else sealed
        except Unfit:
            return sealed

    def _is(self, connector: str, name: str, sealed: str, secret: str) -> bool:
        try:
            return self._keys.open(connector, name, sealed) == secret
        except Unfit:
            return False

    def _open(self, connector: str, texts: Mapping[str, str]) -> _Changed:
        def opened(name: str, text: str) -> str:
            return self._keys.open(connector, name, text) if looks_secret(name) and is_sealed(text) else text

        return _each(opened, texts)


def _unmasked(name: str, text: str, stored: str | None) -> str:
    if text not in MASKS or not looks_secret(name):
        return text
    if not stored:
        raise Unfit(f"is {text}, which stands for a stored secret, and none is stored: give the secret or a reference.")
    return stored


def _each(change: Callable[[str, str], str], texts: Mapping[str, str]) -> _Changed:
    """Return *texts* changed, and what `Unfit` says of those that cannot be; these stay as they are."""
    changed, problems = dict(texts), []
    for name, text in texts.items():
        try:
            changed[name] = change(name, text)
        except Unfit as unfit:
            problems += [Problem(name, f"{name} {rest}") for rest in unfit.rests]
    return changed, tuple(problems)


def _or_raise(found: _Changed) -> dict[str, str]:
    changed, problems = found
    if problems:
        raise ConfigError([problem.sentence for problem in problems])
    return changed
