"""
Everything that can happen to a connector.

An event is one thing that happened, never a record; it renders its own log line (an event name and fields) and counts
itself in the metrics.  Levels by consequence: INFO is a step, WARNING recovers by itself, ERROR lost data or needs a
person.  No field holds a secret.

`event`     what all events have
`coverage`  `sources`  `kafka`  `task`  `cluster`  `worker`: the events that these rooms emit
"""
