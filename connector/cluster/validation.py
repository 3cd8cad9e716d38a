"""
Is a configuration fit for a connector?  Connect's framework and the connector's class say what is wrong, together.

The routes that validate and those that create ask here, so that both say the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connector.cluster import sentences
from connector.cluster.plugins import Plugin, Plugins, Verdict
from connector.config.checks import unknown
from connector.config.framework import CLASS, FAMILIES, FRAMEWORK
from connector.config.framework_checks import errors_in, warnings_in
from connector.config.migration import translate
from connector.config.options import Declared, Problem

OPTIONS_MAX = 1_000
"""The most options of one configuration: for each unknown one, all known ones are looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """
    A configuration, its class, all options that the class has with it, and what is wrong.

    *config* has our options where the user wrote properties of a class that ours replaces.
    """

    config: Mapping[str, str]
    plugin: Plugin
    options: Mapping[str, Declared]
    verdict: Verdict


def check_size(config: Mapping[str, str]) -> None:
    """
    Check that *config* is no larger than may be looked through.

    Raises:
        Refused: it has too many options.
    """
    if len(config) > OPTIONS_MAX:
        raise sentences.too_many_options(len(config), OPTIONS_MAX)


def plugin_of(plugins: Plugins, config: Mapping[str, str], *, cure: str = "") -> Plugin:
    """
    Return the class that *config* names; *cure* ends the sentence if it names none.

    Raises:
        Refused: *config* names no class, or one that this worker does not have.
    """
    name = config.get(CLASS, "").strip()
    if not name:
        raise sentences.no_class(config, _harmless(plugins), cure)
    plugin = plugins.find(name)
    if plugin is None:
        raise sentences.no_such_class(name, [each.name for each in plugins])
    return plugin


def judge(plugins: Plugins, config: Mapping[str, str], problems: Sequence[Problem] = ()) -> Judged:
    """
    Check *config* as its class would use it; *problems* are known already, and belong to the judgement.

    Raises:
        Refused: *config* names no class, or one that this worker does not have.
    """
    plugin = plugin_of(plugins, config)
    given, config = config, translate(config).texts
    options = {**plugin.options, **plugin.brought(config)}
    problems = [*problems, *(Problem(name, sentence) for name, sentence in errors_in(config, options))]
    found = {problem.option for problem in problems}
    known = options.keys() | FRAMEWORK.keys()
    own = plugin.check(
        {
            name: text
            for name, text in given.items()
            if name in options
            or _in_family(name)
            or name not in config  # what was translated is checked by its own name
        }
    )
    return Judged(
        config=config,
        plugin=plugin,
        options=options,
        verdict=Verdict(
            problems=(*problems, *(problem for problem in own.problems if problem.option not in found)),
            warnings=(*own.warnings, *warnings_in(config, options), *_unknown(config, known)),
        ),
    )


def accept(plugins: Plugins, config: Mapping[str, str], problems: Sequence[Problem] = ()) -> Judged:
    """
    Return the judgement on *config* if nothing is wrong with it, as `judge` does.

    Raises:
        Refused: something is wrong; the message has Connect's form and every problem.
    """
    judged = judge(plugins, config, problems)
    if judged.verdict.problems:
        raise sentences.invalid([problem.sentence for problem in judged.verdict.problems])
    return judged


def _in_family(name: str) -> bool:
    return name in {"transforms", "predicates", "key.converter", "value.converter"} or name.startswith(FAMILIES)


def _unknown(config: Mapping[str, str], known: set[str]) -> Iterator[str]:
    for name in sorted(config.keys() - known):
        if not _in_family(name) and not name.startswith("topic.creation."):
            yield unknown(name, known)[0]


def _harmless(plugins: Plugins) -> set[str]:
    """Return the names of the options that certainly hold no secret."""
    own = {name for plugin in plugins for name, option in plugin.options.items() if not option.secret}
    return own | FRAMEWORK.keys()
