"""Blocks of code in README.md and docs/, and how each is to be checked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

GENERATED = {"configuration.md", "metrics.md", "events.md", "routes.md", "command-line.md", "schema.md"}
PAGES = [
    ROOT / "README.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if path.name not in GENERATED and path.parent.name != "decisions"
    ),
]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)\s*$")
MARK = re.compile(r"^ *<!-- (?P<words>.*) -->\s*$")
COMMAND = re.compile(
    r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:exec |sudo )?(?:\S*/)?"
    r"(?:faust -A connector|murmuration|python3? -m connector)(?= |$)(?P<rest>.*)$"
)
IN_PROSE = re.compile(r"`faust -A connector(?P<rest>[^`]*)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of *page*, of which *line* is the number; *mark* is the comment above it."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(languages: Sequence[str]) -> list[Block]:
    """Return all fenced blocks in one of *languages*."""
    return [block for path in PAGES for block in _blocks(path) if block.language in languages]


def _blocks(path: Path) -> Iterator[Block]:
    lines, mark, begin = path.read_text(encoding="utf-8").splitlines(), "", None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if begin is None and fence and fence["language"]:
            begin, opened = number, fence
        elif begin is not None and fence and not fence["language"]:
            text = "\n".join(each.removeprefix(opened["indent"]) for each in lines[begin : number - 1])
            yield Block(str(path.relative_to(ROOT)), begin, opened["language"], text + "\n", mark)
            begin, mark = None, ""
        elif begin is None and (found := MARK.match(line)):
            mark = found["words"]
        elif begin is None and line.strip():
            mark = ""


def commands() -> dict[str, str]:
    """Return the arguments of each call of our command line that the pages show, by its place."""
    found = {}
    for path in PAGES:
        joined = re.sub(r"\\\n *", " ", path.read_text(encoding="utf-8"))
        for number, line in enumerate(joined.splitlines(), 1):
            spans = [COMMAND.match(line.strip()), *IN_PROSE.finditer(" ".join(line.split()))]
            for at, span in enumerate(each for each in spans if each):
                found[f"{path.relative_to(ROOT)}:{number}:{at}"] = span["rest"].strip()
    return {place: words for place, words in found.items() if "…" not in words and "..." not in words}
