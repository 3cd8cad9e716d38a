"""
Why the group does not do what a request asks.

The sentences are Kafka Connect's where it has one, because its clients look for them; *status* is the HTTP status.
"""


class Refused(Exception):
    """A request that is not carried out: nothing has changed because of it."""

    status = 400


class NotFound(Refused):
    """The request names a connector or a task that does not exist."""

    status = 404


class Conflicting(Refused):
    """The request contradicts the present state, or another change of the same connector came first."""

    status = 409


class Unavailable(Refused):
    """Kafka does not answer, or has not confirmed: whether the change is in the topic is not known."""

    status = 503
