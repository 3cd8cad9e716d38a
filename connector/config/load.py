"""
Reads the worker's settings, and the connector if one is declared, from the environment and the file `.env`.

Where both set a variable, the environment wins over `.env`, which is in the working directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from connector.config.checks import Checked, check_given, unknown
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.dotenv import doubts, read_dotenv
from connector.config.faust_settings import FAUST_SETTINGS, OTHER_VARIABLES
from connector.config.options import (
    PREFIX,
    Given,
    environment_names,
    given_by,
)
from connector.config.rules import as_json
from connector.config.worker import WORKER_OPTIONS, WorkerSettings
from connector.config.worker_checks import read_worker
from connector.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """
    What `load` has read.

    *declared* is the configuration of *connector* as Connect's map of strings.  Secrets are references in it; the rules
    of a file are copied into it, so that other workers do not need the file.
    """

    worker: WorkerSettings
    connector: ConnectorConfig | None
    declared: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notices: tuple[str, ...] = ()


def load(environ: Mapping[str, str], directory: Path) -> Loaded:
    """
    Read the worker's settings and the connector it declares from *environ* and from `.env` in *directory*.

    A connector is declared if any of its options is set.

    Raises:
        ConfigError: the settings or the connector's options are wrong; it has all problems.
    """
    dotenv = read_dotenv(directory)
    doubtful = doubts(dotenv, [*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()], environ)
    # A doubtful variable keeps its comment, else it could be reported as missing, too.
    environ = {**dotenv.variables, **{name: whole for name, (whole, _) in doubtful.items()}, **environ}
    worker, worker_problems, notices = read_worker(environ, directory)
    given = given_by(environ, CONNECTOR_OPTIONS.values(), directory)
    checked = Checked(config=None, problems=(), notices=())
    if given.texts or given.problems:
        checked = check_given(given, worker.group_id)
    unknown = _unknown_variables(environ)
    sentences = [
        *dotenv.problems,
        *(sentence for _, sentence in doubtful.values()),
        *(problem.sentence for problem in worker_problems + checked.problems),
    ]
    if sentences:
        # A required option is often missing because its name is misspelled.
        raise ConfigError([*sentences, *(sentence for sentence, near in unknown if near)])
    return Loaded(
        worker=worker,
        connector=checked.config,
        declared=MappingProxyType(_declaration(given, checked.config)),
        notices=(*dotenv.notices, *notices, *checked.notices, *(sentence for sentence, _ in unknown)),
    )


def _unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return a sentence on each `CONNECTOR_` variable that nothing reads, and whether the sentence suggests a name."""
    ours = environment_names([*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()])
    known = ours | FAUST_SETTINGS | OTHER_VARIABLES
    return [unknown(name, ours) for name in sorted(environ) if name.startswith(PREFIX) and name not in known]


def _declaration(given: Given, config: ConnectorConfig | None) -> dict[str, str]:
    declaration = {name: text.strip() for name, text in given.texts.items()}
    if config is not None:
        declaration.setdefault("name", config.name)
        declaration.setdefault("connector.class", config.connector_class)
        if declaration.pop("rules.file", None) is not None:
            declaration["rules"] = as_json(config.rules)
            declaration.pop("hashtags", None)
    return declaration
