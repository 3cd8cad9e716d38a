"""
One process.

`wiring`   the one place that wires: settings in, a Faust application out
`tasks`    from a connector's configuration to its tasks
`process`  how it starts, stops and exits
`memory`   how the allocator treats what a batch needs
`gauges`   what is measured when somebody scrapes
`threads`  threads that never keep the process alive
"""
