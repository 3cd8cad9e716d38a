"""What is there compiled and in Python is tested in both forms."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import pytest

from connector.kafka.delivery import partitioner, record_batch
from connector.records import matches, native, post, record

if os.environ.get(native.PURE_PYTHON):
    NOT_BUILT = f"the compiled form is left out by {native.PURE_PYTHON}"
elif shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"):
    NOT_BUILT = "the compiled form was not built here: pip install -e ."
else:
    NOT_BUILT = "the compiled form was not built: it needs a C compiler"

FORMS = pytest.mark.parametrize(
    "compiled",
    [
        pytest.param(None, id="python"),
        pytest.param(
            native.compiled, id="compiled", marks=pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)
        ),
    ],
)
"""Gives *compiled*, the module or None, to be put in its place."""

COMPILED_TOO = pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)
"""For what compares the two."""


@contextlib.contextmanager
def form(compiled: ModuleType | None) -> Iterator[None]:
    """Put *compiled* in its place wherever it is used."""
    with contextlib.ExitStack() as stack:
        for module in (post, matches, partitioner, record_batch):
            stack.enter_context(mock.patch.object(module, "compiled", compiled))
        post_bytes = record.PYTHON_POST_BYTES if compiled is None else record.COMPILED_POST_BYTES
        stack.enter_context(mock.patch.object(record, "POST_BYTES", post_bytes))
        yield
