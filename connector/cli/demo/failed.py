"""Why the demo cannot go on."""

from connector.cli.exits import EX_FAILED, EX_UNAVAILABLE


class DemoFailed(Exception):
    """The demo cannot go on; the message says why, and the cure."""

    exit_code = EX_FAILED


class BrokerRefuses(DemoFailed):
    """The given broker does not answer, or refuses the login."""

    exit_code = EX_UNAVAILABLE
