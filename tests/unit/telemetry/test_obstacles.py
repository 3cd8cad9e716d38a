from connector.telemetry.events.kafka import KafkaAdmits, KafkaRefuses
from connector.telemetry.obstacles import SAY_EVERY_SECS, Obstacles


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_said_when_it_comes_and_when_it_is_over():
    """A reason is told once, shown while it stays, and told to be over with the time that it took."""
    events, clock = [], Clock()
    obstacles = Obstacles(events.append, clock)
    for _ in range(10):
        obstacles.meet("start", "allow READ on group a.")
        clock.now += 1.0

    assert ["allow READ on group a."] == obstacles.reasons()
    obstacles.pass_("start")
    obstacles.pass_("start")
    assert [] == obstacles.reasons()
    assert [
        KafkaRefuses(part="start", reason="allow READ on group a.", waiting_secs=0.0),
        KafkaAdmits(part="start", waited_secs=10.0),
    ] == events


def test_said_again():
    """A reason that stays is told again every minute, and one that changes at once, with the time since the first."""
    events, clock = [], Clock()
    obstacles = Obstacles(events.append, clock)
    obstacles.meet("start", "a")
    clock.now += SAY_EVERY_SECS
    obstacles.meet("start", "a")
    clock.now += 1.0
    obstacles.meet("start", "b")

    assert [("a", 0.0), ("a", 60.0), ("b", 61.0)] == [(event.reason, event.waiting_secs) for event in events]


def test_several_parts():
    """Each part has its reason; one that several have is shown once, the oldest first."""
    clock = Clock()
    obstacles = Obstacles(lambda _: None, clock)
    for part, reason in (("b", "second"), ("a", "first"), ("c", "second")):
        clock.now += 1.0
        obstacles.meet(part, reason)

    assert ["second", "first"] == obstacles.reasons()
    obstacles.pass_("b")
    assert ["first", "second"] == obstacles.reasons()
