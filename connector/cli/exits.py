"""
The exit codes of all commands; docs/operations.md has the same table, and a test holds the two together.

A command adds no meaning of its own to a code: scripts that call several commands treat them alike.
"""

from connector.worker.process import EX_CONFIG, EX_FATAL, EX_OK, EX_UNAVAILABLE

__all__ = ["EXITS", "EX_CONFIG", "EX_FAILED", "EX_INTERRUPTED", "EX_OK", "EX_UNAVAILABLE", "EX_UNREACHABLE", "EX_USAGE"]

EX_FAILED = EX_FATAL
"""The command was carried out and the answer is no: something is missing, wrong, refused or failed."""

EX_USAGE = 2
"""click's code for wrong arguments; also for a question that was answered with no."""

EX_UNREACHABLE = 3
"""No worker can be reached, for commands that ask one."""

EX_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

EXITS = {
    EX_OK: "done: a worker was stopped, or its time limit is reached; a command did what it was asked",
    EX_FAILED: "no: a worker had a fatal error, or its stop was cut short; `audit` finds less than its threshold,"
    " `doctor` something wrong; a worker refused what `connectors` asked, or X what `rules` asked; `demo` failed",
    EX_USAGE: "wrong arguments, a file that holds no connector, or a question that was not answered with yes",
    EX_UNREACHABLE: "no worker can be reached, for commands that ask one",
    EX_UNAVAILABLE: "Kafka or X does not answer, or refuses: the last line says why",
    EX_CONFIG: "wrong settings, a wrong configuration in a file of `validate`, or installed libraries with which a"
    " worker cannot run",
    EX_INTERRUPTED: "Ctrl-C, for commands",
}
"""What each exit code means, for a worker and for all commands."""
