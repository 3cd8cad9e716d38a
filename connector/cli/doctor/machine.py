"""This machine: settings, files with secrets, versions of libraries, room for temporary files."""

import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from connector import __version__
from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import Finding, State, ok, told, unknown, warning, wrong
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.dotenv import DOTENV, read_dotenv
from connector.config.options import FILE_SUFFIX
from connector.config.worker import WORKER_OPTIONS
from connector.formats.schemas import native as avro_native
from connector.kafka import internals as kafka_internals
from connector.records import native
from connector.sources.http import internals as x_internals

DISTRIBUTION = "murmuration-connector"

ROOM_BYTES = 256 * 1024 * 1024
"""Free space for temporary files below which a long audit may fail."""

_PROBE_BYTES = 4096


# -- settings


async def settings(case: Case) -> list[Finding]:
    """Are the settings of this environment right, and the connectors in files?"""
    found: list[Finding] = []
    for place in case.places:
        found += [told(State.WRONG, sentence) for sentence in place.problems]
        found += [_notice(sentence) for sentence in place.warnings]
    names = ", ".join(config.name for config in case.connectors)
    if not any(place.problems for place in case.places):
        what = (
            f"with the connector{'s' if len(case.connectors) > 1 else ''} {names}" if names else "without a connector"
        )
        found.insert(0, ok(f"The settings are right, {what}.", connectors=[each.name for each in case.connectors]))
    return found


def _notice(sentence: str) -> Finding:
    found = told(State.WARNING, sentence)
    return found if found.cure else warning(sentence, "Remove it, or correct it, if it is not meant.")


# -- files with secrets


async def secrets(case: Case) -> list[Finding]:
    """May other users of this machine read files that hold secrets?"""
    found: list[Finding] = []
    files = dict(secret_files(case))
    for path, what in files.items():
        try:
            mode = path.stat().st_mode
        except OSError as error:
            found.append(unknown(f"{path} ({what}) cannot be looked at: {error.strerror}.", f"Check {path}."))
            continue
        cure = f"chmod 600 {path}"
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(wrong(f"Other users of this machine may change {path} ({what}).", cure))
        elif mode & stat.S_IROTH:
            found.append(warning(f"Every user of this machine may read {path} ({what}).", cure))
    if not found:
        count = f"{len(files)} file{'' if len(files) == 1 else 's'} with secrets"
        found.append(ok(f"{count}: no other user of this machine may read or change them." if files else f"{count}."))
    return found


def secret_files(case: Case) -> Iterator[tuple[Path, str]]:
    """Yield each file that the settings read a secret from, with what is in it."""
    environ, directory = case.examined.loaded.environ, case.examined.loaded.directory
    of_dotenv = read_dotenv(directory).variables
    for option in (*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()):
        if not option.secret:
            continue
        if of_dotenv.get(option.environment, "").strip():
            yield directory / DOTENV, "secrets of the settings"
        if path := environ.get(option.environment + FILE_SUFFIX, "").strip():
            yield directory / path, option.environment + FILE_SUFFIX
    for name in ("kafka_ssl_key_file", "config_key_file"):
        variable = WORKER_OPTIONS[name].environment
        if path := environ.get(variable, "").strip():
            yield directory / path, variable


# -- versions


async def versions(case: Case) -> list[Finding]:
    """Are the installed libraries those that the connector knows, with the private names that it uses?"""
    found = [*_unfit_libraries(), *_missing_names(case), *_slower_ways()]
    installed = f"Python {platform.python_version()}, {DISTRIBUTION} {__version__}"
    if not any(each.state is State.WRONG for each in found):
        found.insert(0, ok(f"{installed}, and libraries that it knows."))
    return found


def _unfit_libraries() -> Iterator[Finding]:
    try:
        needed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield warning(
            f"{DISTRIBUTION} runs from its source and is not installed, so nothing says which versions it needs.",
            "Install it: pip install .",
        )
        return
    for each in map(Requirement, needed):
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        cure = f"pip install '{each.name}{each.specifier}'"
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            yield wrong(f"{each.name} is not installed.", cure)
            continue
        if not each.specifier.contains(version, prereleases=True):
            yield wrong(f"{each.name} {version} is installed, and {each.specifier} is needed.", cure)


def _missing_names(case: Case) -> Iterator[Finding]:
    exactly_once = any(config.delivery == "exactly_once" for config in case.connectors) or not case.connectors
    for sentence in kafka_internals.unfit(exactly_once=exactly_once):
        yield told(State.WRONG, sentence)
    if sentence := x_internals.why_no_stream():
        yield told(State.WRONG, sentence)


def _slower_ways() -> Iterator[Finding]:
    for broken in kafka_internals.check(kafka_internals.FALL_BACKS):
        without = "; ".join(kafka_internals.FALL_BACKS[use] for use in broken.uses)
        yield warning(f"{broken.installed} does not have {', '.join(broken.missing)}: {without}.", broken.cure)
    for off in x_internals.paths_off():
        yield warning(
            f"{', '.join(off.installed)} does not have {', '.join(off.missing)}: {off.consequence}.", off.cure
        )
    if not avro_native.all_compiled():
        reason = native.broken or avro_native.broken
        why = f" ({reason})" if reason else ""
        yield warning(
            f"The compiled part is not in use{why}: each post takes more CPU.",
            "Install a wheel, or with a C compiler from source; unset CONNECTOR_PURE_PYTHON.",
        )


# -- disk


async def disk(_case: Case) -> list[Finding]:
    """Is there room for temporary files?  A worker needs no disk; an audit of many posts does."""
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [
            warning(
                f"No temporary file can be written ({error.strerror or error}): a worker needs none, an audit does.",
                "Free some space, or name a writable folder in TMPDIR.",
            )
        ]
    shown = f"{free / 1024**2:,.0f} MiB"
    if free < ROOM_BYTES:
        return [
            warning(
                f"{folder} has {shown} left: a worker runs without, a long audit may fail.",
                "Free some space, or name another folder in TMPDIR.",
            )
        ]
    return [ok(f"{folder} is writable and has {shown} left.", free_bytes=free)]
