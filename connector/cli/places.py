"""
Where settings and connectors are configured, and what is wrong there: the environment with its `.env`, and files.

A file is judged as a worker with this environment judges it when it is posted.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from connector.cli.connectors.files import SUFFIXES, Unreadable, Wanted, read
from connector.cluster.plugins import CONVERTERS, Plugins
from connector.cluster.refused import Refused
from connector.cluster.validation import check_size, judge
from connector.config.connector import ConnectorConfig
from connector.config.load import Examined
from connector.config.options import shown
from connector.config.references import reference_in
from connector.config.vault import Vault
from connector.transforms.catalogue import CATALOGUE
from connector.worker.plugin import parts_of, plugin_of

ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    One place of configuration, with its *problems* and *warnings*, each a sentence.

    *connector* is the name of the connector that is configured there, None if there is none or its name is not known;
    *config* is its configuration if nothing is wrong with it.
    """

    title: str
    connector: str | None = None
    config: ConnectorConfig | None = field(default=None, repr=False)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def places(examined: Examined, paths: Sequence[Path]) -> list[Place]:
    """Return the environment and then what is in *paths*: files, and folders with files of the known kinds."""
    found: list[Place] = []
    judge_ = _Judge(examined)
    named: set[str] = set()
    for path in _files(paths):
        if isinstance(path, Place):
            found.append(path)
            continue
        try:
            wanted = read(path)
            named |= _variables(wanted)
            found.append(judge_(wanted))
        except Unreadable as unreadable:
            found.append(Place(title=str(path), problems=unreadable.problems))
    return _unique([_environment(examined, named), *found])


def _variables(wanted: Wanted) -> set[str]:
    """Return the variables of the environment to which *wanted* refers."""
    references = (reference_in(str(text).strip()) for text in wanted.config.values())
    return {each.place for each in references if each is not None and each.provider == "env"}


def _environment(examined: Examined, named: Collection[str]) -> Place:
    """Return what is wrong with the environment; the variables *named* are read, for files name them."""
    loaded = examined.loaded
    read_ = {sentence for name, sentence in loaded.unread.items() if name in named}
    return Place(
        title=ENVIRONMENT,
        connector=None if loaded.connector is None else loaded.connector.name,
        config=loaded.connector,
        problems=tuple(problem for problem in examined.problems if problem not in read_),
        warnings=tuple(notice for notice in loaded.notices if notice not in read_),
    )


def _files(paths: Iterable[Path]) -> Iterable[Path | Place]:
    """Yield each file; a folder that cannot be read, or holds no file, is a `Place` with that problem."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        try:
            inside = sorted(
                each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
            )
        except OSError as error:
            yield Place(title=str(path), problems=(f"{path} cannot be read: {error.strerror}.",))
            continue
        if not inside:
            yield Place(title=str(path), problems=(f"{path} holds no file that ends in {', '.join(SUFFIXES)}.",))
        yield from inside


class _Judge:
    """What a worker with this environment says of connectors by REST."""

    def __init__(self, examined: Examined) -> None:
        loaded = examined.loaded
        self._vault = Vault(loaded.worker, loaded.environ, loaded.directory, CATALOGUE)
        self._plugins = Plugins([plugin_of(self._vault, loaded)], (*CONVERTERS, *parts_of(CATALOGUE)))
        self._group_id = loaded.worker.group_id

    def __call__(self, wanted: Wanted) -> Place:
        place = Place(title=str(wanted.path), connector=wanted.name)
        try:
            check_size(wanted.config)
            stored, problems = self._vault.sealed(wanted.name, wanted.config)
            verdict = judge(self._plugins, stored, problems).verdict
        except Refused as refused:
            return replace(place, problems=(str(refused),))
        config = None
        if not verdict.problems:
            config = self._vault.check(wanted.name, stored, group_id=self._group_id).config
        problems_ = tuple(problem.sentence for problem in verdict.problems)
        return replace(place, config=config, problems=problems_, warnings=verdict.warnings)


def _unique(found: Sequence[Place]) -> list[Place]:
    """Return *found*, with a problem for each connector that an earlier place has, too."""
    first: dict[str, str] = {}
    checked = []
    for place in found:
        other = first.setdefault(place.connector, place.title) if place.connector is not None else place.title
        if other != place.title:
            twice = (
                f"{place.title} holds the connector {shown(place.connector or '')}, and so does"
                f" {'the environment, which declares it' if other == ENVIRONMENT else other}: keep one of them."
            )
            place = replace(place, problems=(*place.problems, twice))  # noqa: PLW2901  # the same place, judged further
        checked.append(place)
    return checked
