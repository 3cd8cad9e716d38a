"""`python -m connector worker`, the same as `faust -A connector worker`."""

from connector.worker.wiring import main

main()
