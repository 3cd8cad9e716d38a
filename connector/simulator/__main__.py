"""`python -m connector.simulator`: the simulator in a process of its own."""

from connector.simulator.command import main

main(prog_name="simulator")
