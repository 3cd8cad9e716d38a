"""
`make picture`: run the demo for some seconds and write what its screen shows to docs/demo.svg.

The posts are the simulator's: synthetic, and the same series in each run, as its seed is fixed.  How far the series
is when the worker connects, the times and the figures differ from run to run.
"""

import asyncio
import io
import logging
import sys
import tempfile
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from connector.cli.demo.demo import Demo
from connector.cli.demo.plan import Plan
from connector.cli.demo.screen import Screen

PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS = 112
LINES_MAX = 60
PLAN = Plan(broker=None, rate=0.6, duration=15, faults=True, keep=False)
"""Long enough for the first fault, and for posts after it."""

THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
"""Light on dark whatever the page is, with a contrast of 4.5 or more."""

FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The demo in a terminal">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#484f58" />
<g transform="translate(14, 20)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own has a window's frame, and a font that is loaded from the network."""


class Recorded(Screen):
    """The screen as it is where there is no terminal, its lines cut to the picture's width."""

    def _print(self, text: Text, *, one_line: bool = False) -> None:
        for line in text.split(allow_blank=True):
            line.truncate(COLUMNS, overflow="ellipsis")
            super()._print(line, one_line=one_line)


async def record() -> tuple[int, Console]:
    """Run the demo; return its exit code and a console that remembers all that was shown."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=False, highlight=False)
    with tempfile.TemporaryDirectory(prefix="murmuration-") as folder, Recorded(console) as screen:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            screen.say("$ make demo", "dim")
            code = await Demo(PLAN, screen, Path(folder), http).run(asyncio.get_running_loop().create_future())
    return code, console


def main() -> int:
    """Write the picture, if all posts arrived; return the exit code."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    code, console = asyncio.run(record())
    lines = console.export_text(clear=False).count("\n")
    if code or lines > LINES_MAX:
        sys.stderr.write(f"{console.export_text()}No picture: exit code {code}, {lines} lines.\n")
        return code or 1
    PICTURE.write_text(console.export_svg(theme=THEME, code_format=FORMAT, unique_id="demo"), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(Path.cwd())}: {PICTURE.stat().st_size:,} bytes, {lines} lines\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
