"""
The last line of CI, in pytest's form, of the closing lines of several runs: `python .ci/closing_line.py RUNS LOG`.

All runs count: each number is a sum, and a run that has no closing line is an error.
"""

import re
import sys
from datetime import timedelta
from pathlib import Path

LINE = re.compile(
    r"=* ?(?P<counts>\d+ (?:passed|failed|skipped|errors?|deselected|warnings?|xfailed|xpassed)\b.*?|no tests"
    r" ran) in (?P<secs>[\d.]+)s.*"
)
ORDER = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")


def closing_line(log: str, runs: int) -> str:
    """Return the line that stands for the *runs* in *log*."""
    found = [match for line in log.splitlines() if (match := LINE.fullmatch(line))]
    counts = dict.fromkeys(ORDER, 0)
    for match in found:
        for number, word in re.findall(r"(\d+) ([a-z]+)", match["counts"]):
            counts[word if word in counts else word.removesuffix("s")] += int(number)
    counts["error"] += max(runs - len(found), 0)
    secs = sum(float(match["secs"]) for match in found)
    said = ", ".join(
        f"{number} {word}{'s' if word in {'warning', 'error'} and number > 1 else ''}"
        for word, number in counts.items()
        if number
    )
    return f" {said or 'no tests ran'} in {secs:.2f}s ({timedelta(seconds=int(secs))}) ".center(100, "=")


if __name__ == "__main__":
    path = Path(sys.argv[2])
    sys.stdout.write(closing_line(path.read_text(errors="replace") if path.exists() else "", int(sys.argv[1])) + "\n")
