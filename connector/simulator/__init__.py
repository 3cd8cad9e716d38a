"""
A stand-in for the X API v2: for the demo, the tests and users without an account.

    async with Simulator(SimulatorSettings(rate=100)) as sim:
        ...  # sim.url, sim.settings.token, sim.rules, sim.emissions, sim.connections

`SimulatorThread` runs it beside blocking clients, `python -m connector.simulator`
in a process of its own.  Read the package in this order:

`settings`, `plans`     every switch, and what each plan allows
`simulator`, `thread`   the one place that wires; the simulator in a thread
`api`, `account`        routes in the order of X's checks; what the account holds
`http/`                 HTTP/1.1 on a bare transport, errors, tokens, rate windows
`rules/`                what a rule says, and which posts it matches
`posts/`                what is posted, how it is rendered, stored and searched
`streams/`              the way of a post to a socket; what was written to whom, the truth for tests
`faults/`               what goes wrong
`meter`                 what reading costs
`tokens`, `snowflakes`, `clock`   pages, ids, time
`control`, `command`    steering from outside; the command line

Control endpoints, on the same address as the API and without a token:

`GET /control/state`            counts, live connections, money, rate, faults
`GET /control/emissions?since=` the log of emissions from a number on, a JSON line each
`GET /control/connections`      the log of connections, a JSON line each
`POST /control/rate`            {"rate": posts per second}
`POST /control/emit`            {"count": n}: generated posts, now
`POST /control/post`            {"text", "lang"?, "author"?, "kind"?}: this post, through the rules;
                                or {"sample": kind}: a recorded shape with a new id
`GET /control/faults`           the faults there are, with their arguments
`POST /control/faults`          {"fault": name, ...}: run it now (`faults` says what each does)
`DELETE /control/faults`        take back all that lasts
"""

from connector.simulator.clock import ManualClock
from connector.simulator.faults.schedule import UnknownFault
from connector.simulator.rules.grammar import InvalidRule
from connector.simulator.settings import Burst, SimulatorSettings
from connector.simulator.simulator import Simulator
from connector.simulator.streams.emissions import ConnectionRecord, Emission, EmissionLog
from connector.simulator.thread import SimulatorThread

__all__ = [
    "Burst",
    "ConnectionRecord",
    "Emission",
    "EmissionLog",
    "InvalidRule",
    "ManualClock",
    "Simulator",
    "SimulatorSettings",
    "SimulatorThread",
    "UnknownFault",
]
