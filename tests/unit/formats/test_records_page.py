"""docs/records.md shows what happens."""

import json
import re

from connector.formats.post.resolving import post_of
from connector.transforms.headers import EVENT_TYPE
from connector.worker.values import CONTENT_TYPES
from tests import ROOT

PAGE = (ROOT / "docs" / "records.md").read_text()


def test_the_example():
    """The line becomes the value below it."""
    line, value = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    assert json.loads(value) == post_of(line.encode())


def test_what_the_headers_say():
    """The page has the constants of the code."""
    assert f"`{EVENT_TYPE}`" in PAGE
    assert f"`{CONTENT_TYPES['json']}`" in PAGE
