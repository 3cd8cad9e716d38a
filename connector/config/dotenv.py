"""
Reads the file `.env` in the working directory.

The format is that of python-dotenv, docker compose and shells: a ` #` begins a comment, except inside quotes.  People
write hashtags and passwords here, so a comment that may be a part of the value is reported as a problem.  `MayBeCut`
holds the value with and without the comment; `doubts` asks the option which of the two it accepts.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from connector.config.options import FILE_SUFFIX, PREFIX, Declared, decoded, fits, shown

DOTENV = ".env"
BYTES_MAX = 16 * 1024 * 1024

_COMMENT = re.compile(r"\s+#.*")  # a comment after a value without quotes, as python-dotenv finds it


@dataclass(frozen=True, slots=True)
class MayBeCut:
    """A variable whose value has no quotes and is followed by a *comment*; *whole* is the value with the comment."""

    name: str
    line: int
    value: str = field(repr=False)
    whole: str = field(repr=False)
    comment: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DotEnv:
    """The `CONNECTOR_` variables in a `.env`, the problems of the file, and notices to log about it."""

    path: Path
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    maybe_cut: tuple[MayBeCut, ...] = ()


def read_dotenv(directory: Path) -> DotEnv:
    """Read the `.env` of *directory*, if there is one; a `$` in a value stays as it is."""
    path = directory / DOTENV
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX)
    except FileNotFoundError:
        return DotEnv(path=path)
    except OSError as error:
        return DotEnv(path=path, problems=(f"{path} cannot be read: {error.strerror}.",))
    text = decoded(content)
    if text is None or "\0" in text:
        return DotEnv(path=path, problems=(f"{path} is not UTF-8 text: write it again.",))
    return _understood(path, list(parse_stream(StringIO(text, newline=""))))


def load_dotenv_into(environ: MutableMapping[str, str], directory: Path) -> None:
    """Add the variables of `.env` that *environ* does not set; `load` reports the problems of the file."""
    for name, value in read_dotenv(directory).variables.items():
        environ.setdefault(name, value)


def _understood(path: Path, bindings: Iterable[Binding]) -> DotEnv:
    variables: dict[str, str] = {}
    lines: dict[str, int] = {}
    maybe_cut: dict[str, MayBeCut] = {}
    problems, notices = [], []
    for binding in bindings:
        name, value = binding.key or "", binding.value
        # The text of a binding includes the blank lines before it.
        original = binding.original.string
        line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
        if binding.error:
            problems.append(_broken(path, original, line))
        elif not name.startswith(PREFIX):
            if (meant := name.strip("'\"").upper()).startswith(PREFIX) and value is not None:
                notices.append(f"{path} has {shown(name)} in line {line}, which has no effect: write {meant}.")
        elif value is None:
            notices.append(f"{path} names {shown(name)} in line {line} and gives it no value: write {name}=value.")
        else:
            if variables.get(name, value) != value:
                notices.append(
                    f"{path} sets {name} in line {lines[name]} and again, to something else, in line {line}:"
                    f" line {line} counts."
                )
            variables[name], lines[name] = value, line
            maybe_cut.pop(name, None)
            if (cut := _cut(name, line, original)) is not None:
                variables[name], maybe_cut[name] = cut.value, cut  # python-dotenv's versions read `= #a` differently
    return DotEnv(
        path=path,
        variables=variables,
        problems=tuple(problems),
        notices=tuple(notices),
        maybe_cut=tuple(maybe_cut.values()),
    )


def _broken(path: Path, original: str, line: int) -> str:
    quoted = re.search(r"=\s*(['\"])", original)
    if quoted is None:
        return f"{path} has no NAME=value in line {line}: correct it."
    return (
        f"{path} has a value in line {line} that begins with {quoted[1]} and does not end with it: put quotes around"
        " the whole value, or none."
    )


def _cut(name: str, line: int, original: str) -> MayBeCut | None:
    rest = original.strip().partition("=")[2]
    comment = None if rest.lstrip().startswith(("'", '"')) else _COMMENT.search(rest)
    if comment is None:
        return None
    return MayBeCut(name, line, rest[: comment.start()].strip(), rest.strip(), comment[0].strip())


def doubts(file: DotEnv, options: Iterable[Declared], environ: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
    """
    Return the variables whose comment may be a part of the value, by name: the whole text and a sentence on the cure.

    A comment is doubtful if the option accepts the whole text, if it follows a list of hashtags, or if rules are not
    JSON without it.  A variable that *environ* sets is not in doubt, because *environ* wins over the file.
    """
    by_variable = {option.environment: option for option in options}
    found = {}
    for cut in file.maybe_cut:
        option = by_variable.get(cut.name) or by_variable.get(cut.name.removesuffix(FILE_SUFFIX))
        if option is not None and cut.name not in environ and _doubtful(cut, option, file.path.parent):
            found[cut.name] = (
                cut.whole,
                _doubt(file.path, cut, secret=cut.name == option.environment and option.secret),
            )
    return found


def _doubt(path: Path, cut: MayBeCut, *, secret: bool) -> str:
    what = "what follows the #" if secret else shown(cut.comment)
    quoted = f"{cut.name}='…'" if secret or "'" in cut.whole else f"{cut.name}='{cut.whole}'"
    return (
        f"{cut.name} is cut: {what} in line {cut.line} of {path} counts as a comment, because a # after a space begins"
        f" one. Put quotes around the whole value, {quoted}, and write comments on lines of their own."
    )


def _doubtful(cut: MayBeCut, option: Declared, directory: Path) -> bool:
    close = cut.comment[1:2].strip() != ""  # `#kafka` is more likely a part of the value than `# kafka`
    if option.name == "hashtags" and (close or cut.value.endswith(",")):
        return True
    if (close or option.secret) and fits(option, {cut.name: cut.whole}, directory):
        return True
    return option.name == "rules" and not fits(option, {cut.name: cut.value}, directory)
