"""
How an option is declared, and how a text becomes its value.

An option is declared once, as an annotation of a dataclass's field:

    time_limit_secs: Annotated[float | None, Option(number(minimum=1), "Run", "Stop after so many seconds.")] = None

`declared` reads the declarations; parsing, the sentences of a `ConfigError`, Connect's definitions of options and
docs/configuration.md are all made from them.

A secret is a reference until `draft` replaces the reference by the secret itself:

    CONNECTOR_X_BEARER_TOKEN=AAAA        ${env:CONNECTOR_X_BEARER_TOKEN}  ─┐
    CONNECTOR_X_BEARER_TOKEN_FILE=/x     ${file:/x}                       ─┴─▶ Secret

So a map of texts may be stored and shown, and the secret never leaves the worker; `references` has their forms.
"""

import codecs
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_type_hints

from connector.config.properties import parse_properties
from connector.config.references import Limits, Reference, reference_in
from connector.config.secret import Secret

PREFIX = "CONNECTOR_"
FILE_SUFFIX = "_FILE"
HIDDEN = "[hidden]"
SECRET_BYTES_MAX = 65_536
INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

MASKS = frozenset({HIDDEN, "******"})
"""What is shown instead of a secret; clients of Connect and Kafbat UI may send it back."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_SHOWN_CHARACTERS_MAX = 60

Kind = Literal["STRING", "INT", "LONG", "DOUBLE", "BOOLEAN", "LIST", "CLASS", "PASSWORD"]
Importance = Literal["HIGH", "MEDIUM", "LOW"]
Model = TypeVar("Model")


class Unfit(Exception):
    """
    A text is not a value of its option.

    Each of *rests* is the rest of a sentence that begins with the option's name.
    """

    def __init__(self, *rests: str) -> None:
        super().__init__(*rests)
        self.rests = rests


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """How a text becomes a value: *parse* returns the value or raises `Unfit`."""

    kind: Kind
    parse: Callable[[str], object]
    choices: tuple[str, ...] = ()
    bounds: str = ""
    path: bool = False
    """Whether the text is a path, relative to the working directory."""


@dataclass(frozen=True, slots=True)
class Option:
    """
    The declaration of an option, in the annotation of a dataclass's field.

    *doc* begins with a sentence that can be shown alone.  An option that is not *available* is refused when it is set.
    """

    parser: Parser
    group: str
    doc: str
    importance: Importance = "MEDIUM"
    name: str = ""
    available: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One option with all facts of its declaration, for parsing, Connect's definitions and the documentation."""

    name: str
    attribute: str
    environment: str
    kind: Kind
    required: bool
    default: object
    importance: Importance
    group: str
    documentation: str
    choices: tuple[str, ...]
    bounds: str
    available: bool
    path: bool
    parse: Callable[[str], object] = field(repr=False)

    @property
    def secret(self) -> bool:
        return self.kind == "PASSWORD"

    @property
    def default_text(self) -> str | None:
        """The default as a user would write it; None if there is no default."""
        return as_text(self.default)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one option, as a whole sentence."""

    option: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """
    What a user has set: texts by option name, the name that the user wrote for each option, and problems found so far.

    References are resolved with *environ*; paths are relative to *directory*.  *limits* say what they may refer to;
    None: anything, as whoever sets the worker's environment may read its files anyway.
    """

    texts: Mapping[str, str]
    environ: Mapping[str, str] = field(repr=False)
    directory: Path
    spelled: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    limits: Limits | None = None

    def name(self, option: str) -> str:
        """Return the name of *option* as the user wrote it."""
        return self.spelled.get(option, option)

    def has(self, option: str) -> bool:
        """Return whether *option* is set; a blank text does not count."""
        return bool(self.texts.get(option, "").strip())


@dataclass(frozen=True, slots=True)
class Conflict:
    """A problem between several *options*; it is reported as a problem of the first option."""

    options: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Generic[Model]):
    """
    A configuration that may have problems.

    In *model* each option that could not be read has its default, or None.  Checks of several options look at *model*;
    a conflict that they find counts only if all of its options could be read.
    """

    model: Model
    problems: tuple[Problem, ...]

    def with_conflicts(self, conflicts: Iterable[Conflict]) -> tuple[Problem, ...]:
        """Return all problems: *problems*, and each of *conflicts* whose options all could be read."""
        wrong = {problem.option for problem in self.problems}
        return self.problems + tuple(
            Problem(conflict.options[0], conflict.sentence)
            for conflict in conflicts
            if wrong.isdisjoint(conflict.options)
        )


@functools.cache
def declared(model: type[Any], separator: str) -> Mapping[str, Declared]:
    """Return the options of *model* by name, in their order; a name is the attribute with *separator* for `_`."""
    hints = get_type_hints(model, include_extras=True)
    options = {}
    for each in fields(model):
        attribute, required = each.name, each.default is MISSING
        option = next((part for part in get_args(hints[attribute]) if isinstance(part, Option)), None)
        if option is None:
            continue
        name = option.name or attribute.replace("_", separator)
        options[name] = Declared(
            name=name,
            attribute=attribute,
            environment=PREFIX + name.upper().replace(".", "_"),
            kind=option.parser.kind,
            required=required,
            default=None if required else each.default,
            importance=option.importance,
            group=option.group,
            documentation=option.doc,
            choices=option.parser.choices,
            bounds=option.parser.bounds,
            available=option.available,
            path=option.parser.path,
            parse=option.parser.parse,
        )
    return options


def environment_names(options: Iterable[Declared]) -> set[str]:
    """Return the names of all environment variables that set one of *options*."""
    names = set()
    for option in options:
        names.add(option.environment)
        if option.secret:
            names.add(option.environment + FILE_SUFFIX)
    return names


def given_by(environ: Mapping[str, str], options: Iterable[Declared], directory: Path) -> Given:
    """Return what *environ* sets of *options*; an empty variable sets nothing, a secret becomes a reference."""
    texts, spelled, problems = {}, {}, []
    for option in options:
        variable, file_variable = option.environment, option.environment + FILE_SUFFIX
        spelled[option.name] = variable
        text = environ.get(variable, "")
        path = environ.get(file_variable, "") if option.secret else ""
        if text.strip() and path.strip():
            problems.append(Problem(option.name, f"{variable} and {file_variable} are both set: keep one of them."))
        elif path.strip():
            texts[option.name] = f"${{file:{directory / path.strip()}}}"
            spelled[option.name] = file_variable
        elif text.strip():
            texts[option.name] = f"${{env:{variable}}}" if option.secret else text
    return Given(texts=texts, environ=environ, directory=directory, spelled=spelled, problems=tuple(problems))


def fits(option: Declared, environ: Mapping[str, str], directory: Path) -> bool:
    """Return whether *environ* sets *option*, to a valid value."""
    given = given_by(environ, [option], directory)
    try:
        return given.has(option.name) and not given.problems and bool([_value(option, given)])
    except Unfit:
        return False


def draft(model: type[Model], options: Iterable[Declared], given: Given) -> Draft[Model]:
    """Parse all texts of *given*, and collect the problems."""
    problems = list(given.problems)
    unread = {problem.option for problem in problems}
    values: dict[str, Any] = {}
    for option in options:
        values[option.attribute] = option.default
        if option.name in unread:
            continue
        try:
            if given.has(option.name):
                values[option.attribute] = _value(option, given)
            elif option.required:
                raise Unfit(f"is required: {option.documentation}")  # noqa: TRY301  # one way to become a sentence
        except Unfit as unfit:
            problems += [Problem(option.name, f"{given.name(option.name)} {rest}") for rest in unfit.rests]
    return Draft(model=model(**values), problems=tuple(problems))


def _value(option: Declared, given: Given) -> object:
    if not option.available:
        raise Unfit("is not available in this version: remove it.")
    text = given.texts[option.name]
    if option.secret:
        text = resolve(_utf8(text), given)
    elif option.path:
        text = str(_path(_utf8(text).strip(), given))
    return option.parse(_utf8(text) if option.secret else _utf8(text).strip())


def resolve(text: str, given: Given) -> str:
    """
    Return the secret: *text* itself, or what *text* refers to, with the environment, folder and limits of *given*.

    `${env:NAME}` is the variable NAME, which begins with `CONNECTOR_`; `${file:PATH}` is a whole file without its last
    line end.

    Raises:
        Unfit: there is no such variable or file, *given* does not allow it, or the secret is a mask such as `[hidden]`.
    """
    secret = _referred(text, given)
    if secret in MASKS:
        raise Unfit(f"is {secret}, which stands for a secret and is none: give the secret or a reference to it.")
    return secret


def _referred(text: str, given: Given) -> str:
    reference = reference_in(text)
    if reference is None:
        if text.startswith("${"):
            raise Unfit("is a reference of an unknown form: use ${env:CONNECTOR_...} or ${file:/path}.")
        return text
    return _variable(reference.place, given) if reference.provider == "env" else _secret_in(reference, given)


def _variable(name: str, given: Given) -> str:
    # Only CONNECTOR_ variables: a user who may configure a connector must not read the rest of the environment.
    if not name.startswith(PREFIX):
        raise Unfit(f"may refer only to variables that begin with {PREFIX}.")
    if given.limits and (refusal := given.limits.refusal_of_variable(name)):
        raise Unfit(refusal)
    if not given.environ.get(name, "").strip():
        raise Unfit(f"refers to {name}, which is not set where this worker runs.")
    return given.environ[name]


def _path(text: str, given: Given) -> Path:
    """Return the path *text*, absolute, if *given* allows it."""
    path = ((given.limits and given.limits.directory) or given.directory) / text
    if given.limits and (refusal := given.limits.refusal_of_file(path)):
        raise Unfit(refusal)
    return path


def _secret_in(reference: Reference, given: Given) -> str:
    path, key = _path(reference.place, given), reference.key
    if key is not None and reference.provider == "directory":
        path, key = _path(f"{reference.place}/{key}", given), None
    elif key is not None and (named := _path(f"{reference.place}:{key}", given)).is_file():  # a colon in a file's name
        path, key = named, None
    content = read_text(str(path), limit=SECRET_BYTES_MAX)
    secret = content.removesuffix("\n").removesuffix("\r") if key is None else _property(content, key, path)
    if not secret.strip():
        raise Unfit(
            f"names {path}, which is empty." if key is None else f"names {shown(key)} in {path}, which is empty."
        )
    return secret


def _property(content: str, key: str, path: Path) -> str:
    try:
        return parse_properties(content)[key]
    except KeyError:
        raise Unfit(f"names {shown(key)} in {path}, where no such key is.") from None
    except ValueError as error:
        raise Unfit(f"names {path}, which is no file of properties: {error}.") from None


def read_text(path: str, *, limit: int) -> str:
    """
    Return the text of a file of at most *limit* bytes, as `decoded` reads it.

    Raises:
        Unfit: the file is missing, unreadable or too long, or not text.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise Unfit(f"names {path}, which does not exist.") from None
    except OSError as error:
        raise Unfit(f"names {path}, which cannot be read: {error.strerror}.") from None
    except ValueError:  # a null character
        raise Unfit(f"names {path!r}, which is no path.") from None
    if len(content) > limit:
        raise Unfit(f"names {path}, which is longer than {limit} bytes.")
    text = decoded(content)
    if text is None:
        raise Unfit(f"names {path}, which is not UTF-8 text.")
    return text


def decoded(content: bytes) -> str | None:
    """
    Decode *content* as UTF-8, or as UTF-16 with a byte order mark (Windows writes that); return None if it is neither.

    The returned text does not include the byte order mark.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return None


# The parsers


def text(check: Callable[[str], object] = str) -> Parser:
    """Any text; *check* returns the value or raises `Unfit`."""
    return Parser(kind="STRING", parse=check)


def file(check: Callable[[str], object]) -> Parser:
    """The path of a file; *check* gets it absolute."""
    return Parser(kind="STRING", parse=check, path=True)


def secret(check: Callable[[str], str] = str) -> Parser:
    """A text that is never shown; no `Unfit` of *check* may show it either."""
    return Parser(kind="PASSWORD", parse=lambda text: Secret(check(text)))


def whole(*, minimum: int, maximum: int | None = None, besides: int | None = None, kind: Kind = "INT") -> Parser:
    """A whole number from *minimum* to *maximum*, or the number *besides*."""
    bounds = _bounds(minimum, maximum, besides)
    most = maximum if maximum is not None else LONG_MAX if kind == "LONG" else INT_MAX

    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise Unfit(f"must be a whole number, not {shown(text)}.")
        # `int` refuses very long numbers; those are out of range anyway.
        number = int(text) if len(text) < len(str(LONG_MAX)) + 2 else -LONG_MAX if text[0] == "-" else LONG_MAX + 1
        if number != besides and not minimum <= number <= most:
            raise Unfit(f"must be {bounds if number < minimum or maximum else f'at most {most}'}, not {shown(text)}.")
        return number

    return Parser(kind=kind, parse=parse, bounds=bounds)


def number(*, minimum: float, maximum: float | None = None) -> Parser:
    """A number from *minimum* to *maximum*."""
    bounds = _bounds(minimum, maximum, None)

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise Unfit(f"must be a number, not {shown(text)}.")
        if number < minimum or (maximum is not None and number > maximum):
            raise Unfit(f"must be {bounds}, not {shown(text)}.")
        return number

    return Parser(kind="DOUBLE", parse=parse, bounds=bounds)


def boolean() -> Parser:
    """`true` or `false`; `yes`, `no`, `on`, `off`, `1` and `0` are read, too."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise Unfit(f"must be true or false, not {shown(text)}.")
        return words[text.lower()]

    return Parser(kind="BOOLEAN", parse=parse, choices=("true", "false"))


def choice(*choices: str, refused: Mapping[str, str] | None = None, kind: Kind = "STRING") -> Parser:
    """One of *choices*, in upper or lower case; *refused* says why words that a user might try are not among them."""
    by_lower = {choice.lower(): choice for choice in choices}

    def parse(text: str) -> str:
        if text.lower() in by_lower:
            return by_lower[text.lower()]
        reason = (refused or {}).get(text.lower(), "")
        raise Unfit(f"cannot be {shown(text)}{reason and f', {reason}'}: use {either(choices)}.")

    return Parser(kind=kind, parse=parse, choices=choices)


def names(*known: str, refused: Mapping[str, str] | None = None) -> Parser:
    """Some of the *known* names, comma-separated; *refused* says why names that a user might try are not among them."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(items(text)))
        rests = []
        for name in chosen:
            if refused and name in refused:
                rests.append(f"cannot have {name}: {refused[name]}.")
            elif name not in known:
                near = nearest(name, known)
                rests.append(
                    f"does not know {shown(name)}: {f'did you mean {near}?' if near else f'use {either(known)}.'}"
                )
        if rests:
            raise Unfit(*rests)
        return chosen

    return Parser(kind="LIST", parse=parse, choices=known)


# Words


def items(text: str) -> list[str]:
    """Return the parts of a comma-separated list, without empty ones."""
    return [item.strip() for item in text.split(",") if item.strip()]


def shown(text: str) -> str:
    """Return *text* in quotes, cut after 60 characters."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS_MAX else text[:_SHOWN_CHARACTERS_MAX] + "…")


def either(choices: Sequence[str]) -> str:
    """Return *choices* in the form `a, b or c`."""
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among *known* that is most like *name*; None if none is like it."""
    # The common prefix would make all names look alike.
    prefix = PREFIX if name.startswith(PREFIX) else ""
    rests = sorted(other.removeprefix(prefix) for other in known)
    near = difflib.get_close_matches(name.removeprefix(prefix), rests, n=1, cutoff=0.75)
    return prefix + near[0] if near else None


def as_text(value: object) -> str | None:
    """Return *value* as a user would write it; None for None and for an empty tuple."""
    match value:
        case None | ():
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(str(item) for item in value)
        case _:
            return str(value)


def _bounds(minimum: float, maximum: float | None, besides: int | None) -> str:
    words = f"at least {as_text(minimum)}" if maximum is None else f"from {as_text(minimum)} to {as_text(maximum)}"
    return words if besides is None else f"{besides} or {words}"


def _utf8(text: str) -> str:
    # Python turns bytes of the environment that are not UTF-8 into lone surrogates.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit("is not valid UTF-8: write it again.") from None
    return text
