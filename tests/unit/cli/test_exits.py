import re

from connector.cli.exits import EXITS
from tests import ROOT


def test_the_one_table():
    """The documents have each exit code with its meaning, in one table; no page has another one."""
    pages = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
    row, head = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE), re.compile(r"^\| (exit )?code \|", re.MULTILINE)
    _, _, section = pages["operations.md"].partition("### Exit codes")

    assert EXITS == {int(code): words for code, words in row.findall(section.partition("\n#")[0])}
    assert ["operations.md"] == [name for name, text in pages.items() if head.search(text)]
