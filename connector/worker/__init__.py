"""
The worker: one process that runs the application.

`wiring`   the one place that wires: settings in, a Faust application out
`tasks`    builds the tasks of a connector from its configuration
`process`  start, stop and exit codes of the process
`memory`   settings of glibc's allocator
`gauges`   metrics that are computed when Prometheus scrapes the worker
`threads`  an executor whose threads do not keep the process from exiting
"""
