"""Days at X that pass as fast as the simulator makes posts."""

import threading

import requests

DAY = 86_400


class Days:
    """A simulator, whose clock is moved by the posts that it makes; what posts there are depends on nobody's rules."""

    def __init__(self, clock, sim):
        self.clock, self.sim = clock, sim

    def pass_days(self, days, posts_a_day):
        """Make the posts of some days; return when each post that matches a rule was made (UNIX seconds)."""
        matched = []

        def one_day():
            for _ in range(posts_a_day):
                self.clock.advance(DAY / posts_a_day)
                if self.sim.simulator.streams.matching(self.sim.simulator.emit_one()):
                    matched.append(self.clock.now())

        for _ in range(days):
            self.sim.call(one_day)
        return matched

    def next_day_costs(self, values, posts_a_day):
        """Add rules, read the stream for a day, and return what X bills for it, in dollars."""
        for value in values:
            self.sim.add_rule(value)
        login = {"Authorization": f"Bearer {self.sim.settings.token}"}
        with requests.get(f"{self.sim.url}/2/tweets/search/stream", headers=login, stream=True, timeout=30) as stream:
            read = threading.Thread(target=lambda: [None for _ in stream.iter_content(65_536)], daemon=True)
            read.start()
            before = self._spent()
            self.pass_days(1, posts_a_day)
            spent = self._spent() - before
            self.sim.fault("disconnect")
            read.join(10)
        return spent

    def _spent(self):
        return self.sim.call(lambda: self.sim.simulator.meter.spent_usd)
