"""Each example of docs/transforms.md makes of the page's line what stands below it."""

import itertools
import json
import re
from pathlib import Path

import pytest

from connector.config.checks import check
from connector.records.snowflake import created_ms
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.transformer import Transformer
from tests import ROOT

PAGE = (ROOT / "docs" / "transforms.md").read_text()
BASE = {"topic": "posts", "hashtags": "kafka,birds", "x.bearer.token": "AAAAsynthetic%3Dtoken"}
BLOCKS = re.findall(r"^```(properties|json)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINE = next(text for kind, text in BLOCKS if kind == "json" and text.startswith('{\n  "data"'))


def examples():
    """Each block of properties, with the next block of JSON that is not the line."""
    blocks = [(kind, text) for kind, text in BLOCKS if text != LINE]
    return [
        pytest.param(text, json.loads(after), id=text.splitlines()[0])
        for (kind, text), (follows, after) in itertools.pairwise(blocks)
        if (kind, follows) == ("properties", "json")
    ]


@pytest.mark.parametrize(("properties", "expected"), examples())
def test_example(properties, expected):
    """A page that shows something else than what happens misleads."""
    texts = dict(line.split("=", 1) for line in properties.splitlines())
    checked = check(BASE | texts, environ={}, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)
    assert ((), ()) == (checked.problems, checked.notices)

    post_id = int(json.loads(LINE)["data"]["id"])
    labels = [rule.label for rule in checked.config.rules]
    chain = Chain(checked.config.chain)
    transformer = Transformer(chain, connector="posts", topic="posts", labels=labels, reserved=())
    record = transformer.record_of(post_id, LINE.encode(), created_ms(post_id), None, 100_000)

    assert (record is None) == (expected is None)
    if record is not None:
        found = {"topic": record.altered.topic or "posts", "key": record.key.decode()}
        assert expected == found | ({"value": json.loads(record.value)} if "value" in expected else {})


def test_all_are_tried():
    """The page has as many."""
    assert 8 == len(examples())
