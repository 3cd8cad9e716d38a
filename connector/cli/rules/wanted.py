"""
Which rules are configured: by the environment, or by a file.

A file is a connector, as the command `connectors` takes it, or a list of rules, as `rules.file` takes it.  What a file
does not say of the account at X comes from the environment.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from connector.cli.connectors.files import Unreadable, read
from connector.config.checks import check_given, parse
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.load import Loaded
from connector.config.options import Unfit, given_by, read_text
from connector.config.rules import RULES_FILE_BYTES_MAX, Rule, as_json, merge, parse_rules, read_rules
from connector.errors import ConfigError
from connector.transforms.catalogue import CATALOGUE

_OF_ACCOUNT = ("x.", "plan", "topic")
"""The begins of options that a connector in a file need not have if the environment has them."""

_OF_ESTIMATE = ("x.", "plan", "topic", "name", "stream", "expansions", "budget.", "hashtags", "rules")
"""The begins of options on which an estimate depends: account, price, budget, and rules."""

_ANY_TOPIC = {"topic": "estimate"}
"""Stands for the topic, which an estimate does not use."""


@dataclass(frozen=True, slots=True)
class Configured:
    """
    What is configured where.

    *missing* are the problems of an environment without a connector, *problems* those of wrong settings.
    """

    loaded: Loaded
    missing: Sequence[str] = ()
    problems: Sequence[str] = ()

    def config(self, file: Path | None) -> ConnectorConfig:
        """
        Return the connector of *file*, or of the environment.

        Raises:
            ConfigError: the configuration is wrong, or there is none.
            Unreadable: the file holds neither a connector nor rules.
        """
        if self.problems:
            raise ConfigError(self.problems)
        if file is None:
            return self._declared()
        if _is_list(file):
            return replace(self._declared(), rules=_listed(file))
        return self._connector_in(file)

    def for_estimate(self, file: Path | None, rules: Sequence[Rule] | None) -> ConnectorConfig:
        """
        Return what an estimate needs of a connector, whatever else is missing or wrong: account, price and rules.

        *rules* take the place of those that *file* or the environment has.

        Raises:
            ConfigError: the account is not configured, or there are no rules.
            Unreadable: as `config`.
        """
        if rules is None and file is not None:
            if not _is_list(file):
                return self._connector_in(file, _ANY_TOPIC)
            rules = _listed(file)
        options = [option for option in CONNECTOR_OPTIONS.values() if option.name.startswith(_OF_ESTIMATE)]
        given = given_by(self.loaded.environ, options, self.loaded.directory)
        texts = {**_ANY_TOPIC, **given.texts}
        if rules is not None:
            texts = {name: text for name, text in texts.items() if name not in {"hashtags", "rules", "rules.file"}}
            texts["rules"] = as_json(rules)
        checked = check_given(replace(given, texts=texts), self.loaded.worker.group_id, CATALOGUE)
        if checked.config is None:
            raise ConfigError([problem.sentence for problem in checked.problems])
        return checked.config

    def _declared(self) -> ConnectorConfig:
        if self.loaded.connector is None:
            raise ConfigError(self.missing)
        return self.loaded.connector

    def _connector_in(self, file: Path, default: Mapping[str, str] = MappingProxyType({})) -> ConnectorConfig:
        account = {name: text for name, text in self.loaded.declared.items() if name.startswith(_OF_ACCOUNT)}
        return parse(
            {**default, **account, **read(file).config},
            environ=self.loaded.environ,
            directory=self.loaded.directory,
            group_id=self.loaded.worker.group_id,
            catalogue=CATALOGUE,
        )


def rules_of(values: Sequence[str]) -> tuple[Rule, ...]:
    """
    Return the rules that a command line names.

    Raises:
        Unreadable: a value is no rule.
    """
    try:
        return parse_rules(json.dumps([{"value": value} for value in values]))
    except Unfit as unfit:
        raise Unreadable(*(f"The command {rest}" for rest in unfit.rests)) from None


def _is_list(file: Path) -> bool:
    """Whether *file* holds a list of rules, and no connector; what cannot be read is no list."""
    try:
        text = read_text(str(file), limit=RULES_FILE_BYTES_MAX)
        found = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
    except (Unfit, ValueError, RecursionError):
        return False
    return isinstance(found, list) or (isinstance(found, Mapping) and found.keys() == {"rules"})


def _listed(file: Path) -> tuple[Rule, ...]:
    try:
        rules, complaints = merge({str(file): read_rules(str(file))})
    except Unfit as unfit:
        raise Unreadable(*(f"{file} {rest.removeprefix(f'names {file}, which ')}" for rest in unfit.rests)) from None
    if complaints:
        raise Unreadable(*(f"{source} {rest}" for source, rest in complaints))
    return rules
