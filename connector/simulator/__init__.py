"""
A stand-in for the X API v2, for the demo, the tests and users without an account.

    async with Simulator(SimulatorSettings(rate=100)) as sim:
        ...  # sim.url, sim.settings.token, sim.rules, sim.emissions, sim.connections

`SimulatorThread` runs a simulator beside blocking clients, `python -m connector.simulator` in a process of its own.
The simulator shares no code with the connector, because it is the independent check of the connector.

Read the package in this order:

`settings`, `plans`     every setting, and the limits of each plan
`simulator`, `thread`   the one place that wires, and the simulator in a thread
`api`, `account`        the routes in the order of X's checks, and the calls about connections and usage
`http/`                 HTTP/1.1 on a bare transport, errors, bearer tokens, rate windows
`rules/`                what a rule says, and which posts match the rule
`posts/`                how posts are made, rendered, stored and searched
`streams/`              the way of a post to a socket, and the log of what was written to whom
`faults/`               what goes wrong
`meter`                 what the account has spent
`tokens`                page tokens
`snowflakes`, `clock`   ids and times
`control`, `command`    the control endpoints, and the command line

Control endpoints, on the same address as the API and without a token:

`GET /control/state`            counts, open connections, money, rate, faults
`GET /control/emissions?since=` the log of emissions from a number on, a JSON line each
`GET /control/connections`      the log of connections, a JSON line each
`POST /control/rate`            {"rate": posts per second}
`POST /control/emit`            {"count": n}: make and post n posts now
`POST /control/post`            {"text", "lang"?, "author"?, "kind"?}: post this text; rules decide who gets the post;
                                {"sample": kind}: write a recorded shape with a new id
`POST /control/delete`          {"post": id} or {"user": name or id, "kind"?}: delete it; a compliance stream tells it
`POST /control/compliance`      {"kind", "subject", "more"?}: tell this event of a post or a user
`GET /control/compliance?since=` the log of compliance events from a number on, a JSON line each
`GET /control/faults`           all faults, with their arguments
`POST /control/faults`          {"fault": name, ...}: run this fault now (see `faults/faults`)
`DELETE /control/faults`        end every fault that lasts
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
