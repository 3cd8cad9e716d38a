"""
The definitions of a class's options, and what a configuration makes of each; web interfaces build forms of them.

    connector/config/options.Declared ─┐
    connector/config/framework ────────┴─▶ Definition ─▶ Validated: with value, errors, recommended values
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from connector.cluster.plugins import Plugin
from connector.cluster.validation import Judged
from connector.config.framework import FRAMEWORK, OVERRIDE, FrameworkOption, Width, framework_of
from connector.config.framework_checks import value_of
from connector.config.masks import hide
from connector.config.options import HIDDEN, Declared, Kind, Unfit
from connector.web.connect.answers import Definition, Validated, Validation, Value

UNGROUPED = -1
VERSION = ".plugin.version"
_WIDTHS: Mapping[Kind, Width] = {"BOOLEAN": "SHORT", "INT": "SHORT", "DOUBLE": "SHORT", "LIST": "LONG"}


@dataclass(frozen=True, slots=True)
class _Shown:
    """One option as it is shown: its definition, its value, and values that a form may offer."""

    definition: Definition
    value: str | None
    recommended: tuple[str, ...]


def definitions_of(plugin: Plugin) -> list[Definition]:
    """Return the definitions of the class's own options, then those that Connect's framework adds."""
    return [each.definition for each in (*_own(plugin.options, {}), *_framework(plugin.options, {}))]


def definitions_in(options: Iterable[Declared]) -> list[Definition]:
    """Return the definitions of *options*, which belong to a class that is no connector."""
    return [each.definition for each in _own({option.name: option for option in options}, {})]


def validation_of(judged: Judged, given: Mapping[str, str]) -> Validation:
    """Return Connect's answer on the configuration of which *judged* is the judgement; *given* as the user wrote it."""
    config = hide(judged.config)
    errors: dict[str, list[str]] = {}
    for problem in judged.verdict.problems:
        errors.setdefault(problem.option, []).append(problem.sentence)
    shown = [*_framework(judged.options, config), *_own(judged.options, config)]
    listed = {each.definition["name"] for each in shown}
    shown += [
        _unlisted(name, config.get(name))
        for name in dict.fromkeys((*errors, *_overrides(config)))
        if name not in listed
    ]
    return {
        "name": given["connector.class"],
        "error_count": len(judged.verdict.problems),
        "groups": [name for name in dict.fromkeys(each.definition["group"] for each in shown) if name is not None],
        "configs": [_validated(each, errors) for each in shown],
        "warnings": list(judged.verdict.warnings),
    }


def _validated(shown: _Shown, errors: Mapping[str, list[str]]) -> Validated:
    name = shown.definition["name"]
    value: Value = {
        "name": name,
        "value": shown.value,
        "recommended_values": list(shown.recommended),
        "errors": errors.get(name, []),
        # As in Connect: there is no version to choose of a converter that does not exist.
        "visible": not (name.endswith(VERSION) and name.removesuffix(VERSION) in errors),
    }
    return {"definition": shown.definition, "value": value}


def _framework(options: Mapping[str, Declared], config: Mapping[str, str]) -> Iterator[_Shown]:
    for option in framework_of(options):
        yield _Shown(_of_framework(option), value_of(option, config.get(option.name)), option.recommended)


def _of_framework(option: FrameworkOption) -> Definition:
    return {
        "name": option.name,
        "type": option.kind,
        "required": option.required,
        "default_value": option.default,
        "importance": option.importance,
        "documentation": option.documentation,
        "group": option.group,
        "order": option.order,
        "order_in_group": option.order,
        "width": option.width,
        "display_name": option.title,
        "dependents": [],
    }


def _own(options: Mapping[str, Declared], config: Mapping[str, str]) -> Iterator[_Shown]:
    """Yield what the class itself declares, without what the framework declares as well."""
    places: Counter[str] = Counter()
    for option in options.values():
        if option.name not in FRAMEWORK and option.available:
            definition = _of_class(option, places[option.group] if option.group else UNGROUPED)
            places[option.group] += 1
            yield _Shown(definition, _value(option, config.get(option.name)), option.choices)


def _of_class(option: Declared, order: int) -> Definition:
    return {
        "name": option.name,
        "type": option.kind,
        "required": option.required,
        "default_value": option.default_text,
        "importance": option.importance,
        "documentation": option.documentation,
        "group": option.group or None,
        "order": order,
        "order_in_group": order,
        "width": _WIDTHS.get(option.kind, "MEDIUM") if option.group else "NONE",
        "display_name": option.name.replace(".", " ").capitalize(),
        "dependents": [],
    }


def _value(option: Declared, text: str | None) -> str | None:
    if text is None or not text.strip():
        return option.default_text
    if option.secret or option.path:  # a secret is hidden already, and only the check may open a file
        return text
    try:
        option.parse(text.strip())
    except Unfit:
        return None
    return text


def _unlisted(name: str, text: str | None) -> _Shown:
    """Return an option that no class declares; its text is hidden, as it may be a misspelled secret."""
    definition: Definition = {
        "name": name,
        "type": "STRING",
        "required": False,
        "default_value": None,
        "importance": "LOW",
        "documentation": "",
        "group": None,
        "order": UNGROUPED,
        "order_in_group": UNGROUPED,
        "width": "NONE",
        "display_name": name.removeprefix(OVERRIDE),
        "dependents": [],
    }
    return _Shown(definition, text if text is None or name.startswith(OVERRIDE) else HIDDEN, ())


def _overrides(config: Mapping[str, str]) -> Iterator[str]:
    return (name for name in config if name.startswith(OVERRIDE))
