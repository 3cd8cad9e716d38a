"""Runs as many simulators as its argument says, each with an account of its own; prints their URLs, one a line."""

import contextlib
import signal
import sys

from connector.simulator import SimulatorSettings, SimulatorThread

with contextlib.ExitStack() as stack:
    settings = SimulatorSettings(plan="enterprise", enforce_rate_limits=False)
    for _ in range(int(sys.argv[1])):
        simulator = stack.enter_context(SimulatorThread(settings))
        print(simulator.url, flush=True)  # for the bench
    print("ready", flush=True)  # likewise
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
