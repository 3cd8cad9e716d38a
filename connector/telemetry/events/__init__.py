"""
Everything that can happen to a connector.

An event is one thing that happened, never a record.  It has its own log line (a name and fields) and counts itself in
the metrics.  The level tells the consequence: INFO is a normal step, WARNING recovers by itself, ERROR lost data or
needs a person.  No field holds a secret.

`event`     what all events have
`coverage`  `sources`  `kafka`  `task`  `cluster`  `worker`: the events of the package of that name
"""
