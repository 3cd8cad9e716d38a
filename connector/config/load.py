"""
Reads the worker's settings, and the connector if one is declared, from the environment and the file `.env`.

Where both set a variable, the environment wins over `.env`, which is in the working directory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from connector.config.chain import NO_CLASSES, Catalogue, ambiguous, environment_options
from connector.config.checks import Checked, check_given, unknown
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.dotenv import doubts, read_dotenv
from connector.config.faust_settings import FAUST_SETTINGS, OTHER_VARIABLES
from connector.config.options import (
    PREFIX,
    Declared,
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

    *environ*, with the variables of `.env`, and *directory* are what references to secrets are resolved with.
    *declared* is the configuration of *connector* as Connect's map of strings.  Secrets are references in it; the rules
    of a file are copied into it, so that other workers do not need the file.
    """

    worker: WorkerSettings
    connector: ConnectorConfig | None
    environ: Mapping[str, str] = field(repr=False)
    directory: Path
    declared: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notices: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The notice on each variable that nothing reads, unless a connector in a file or by REST names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """
    What `examine` has found: *problems*, each a sentence, and what can be used although there are some.

    With problems *loaded* has no connector, and the default of each worker's setting that is wrong.
    """

    loaded: Loaded
    problems: tuple[str, ...] = ()


def load(environ: Mapping[str, str], directory: Path, catalogue: Catalogue = NO_CLASSES) -> Loaded:
    """
    Read the worker's settings and the connector it declares from *environ* and from `.env` in *directory*.

    A connector is declared if any of its options is set; *catalogue* has the transforms that it may name.

    Raises:
        ConfigError: the settings or the connector's options are wrong; it has all problems.
    """
    examined = examine(environ, directory, catalogue)
    if examined.problems:
        raise ConfigError(examined.problems)
    return examined.loaded


def examine(environ: Mapping[str, str], directory: Path, catalogue: Catalogue = NO_CLASSES) -> Examined:
    """Read what `load` reads; return the problems instead of raising them."""
    dotenv = read_dotenv(directory)
    of_transforms = environment_options({**dotenv.variables, **environ}, catalogue).values()
    options = [*CONNECTOR_OPTIONS.values(), *of_transforms]
    doubtful = doubts(dotenv, [*WORKER_OPTIONS.values(), *options], environ)
    # A doubtful variable keeps its comment, else it could be reported as missing, too.
    environ = {**dotenv.variables, **{name: whole for name, (whole, _) in doubtful.items()}, **environ}
    worker, worker_problems, notices = read_worker(environ, directory)
    given = given_by(environ, options, directory)
    given = replace(given, problems=(*given.problems, *ambiguous(of_transforms)))
    checked = Checked(config=None, problems=(), notices=())
    if given.texts or given.problems:
        checked = check_given(given, worker.group_id, catalogue)
    unknown = _unknown_variables(environ, options)
    sentences = [
        *dotenv.problems,
        *(sentence for _, sentence in doubtful.values()),
        *(problem.sentence for problem in worker_problems + checked.problems),
    ]
    unread = {name: sentence for name, (sentence, _) in unknown.items()}
    if sentences:
        # A required option is often missing because its name is misspelled.
        sentences += [sentence for sentence, near in unknown.values() if near]
        unknown = {name: (sentence, near) for name, (sentence, near) in unknown.items() if not near}
    loaded = Loaded(
        worker=worker,
        connector=None if sentences else checked.config,
        environ=environ,
        directory=directory,
        declared=MappingProxyType(_declaration(given, checked.config)),
        notices=(*dotenv.notices, *notices, *checked.notices, *(sentence for sentence, _ in unknown.values())),
        unread=MappingProxyType(unread),
    )
    return Examined(loaded=loaded, problems=tuple(sentences))


def _unknown_variables(environ: Mapping[str, str], options: Iterable[Declared]) -> dict[str, tuple[str, bool]]:
    """
    Return a sentence on each `CONNECTOR_` variable that nothing reads, and whether the sentence suggests a name.

    The result is by the variable's name; *options* are those of the connector.
    """
    ours = environment_names([*WORKER_OPTIONS.values(), *options])
    known = ours | FAUST_SETTINGS | OTHER_VARIABLES
    return {name: _unknown(name, ours) for name in sorted(environ) if name.startswith(PREFIX) and name not in known}


def _unknown(name: str, known: Iterable[str]) -> tuple[str, bool]:
    sentence, near = unknown(name, known)
    if near or not name.isprintable():
        return sentence, near
    return f"{sentence.removesuffix('.')}, unless a configuration names it as ${{env:{name}}}.", near


def _declaration(given: Given, config: ConnectorConfig | None) -> dict[str, str]:
    declaration = {name: text.strip() for name, text in given.texts.items()}
    if config is not None:
        declaration.setdefault("name", config.name)
        declaration.setdefault("connector.class", config.connector_class)
        if declaration.pop("rules.file", None) is not None:
            declaration["rules"] = as_json(config.rules)
            declaration.pop("hashtags", None)
    return declaration
