"""
The connectors of the group: their life, their tasks over the workers, and what each worker knows of them.

`configs`        what the records of the topic of configurations say
`config_writer`  writes to that topic: one worker at a time
`connectors`     changes that REST and the environments ask for; `offset_changes` writes offsets of stopped connectors
`placement`      in which slots a connector's tasks run, and who shares a stream
`declaration`    brings the connector that this worker's environment declares into the group
`plugins`        the connector classes that this worker knows
`validation`     is a configuration fit for its class?
`refused`        why the group does not do what a request asks; `sentences` has Kafka Connect's words
`assignment`     the group's assignor: deals the slots in use evenly, and moves as few as possible
`herder`         starts and stops this worker's tasks; `slot` runs what one slot has, `retries` says when again
`statuses`       the states of all connectors and tasks, shared in a compacted topic
`requests`       requests to retry or accept gaps, shared in the topic of configurations
`overview`       what this worker knows of all connectors, for the web and the command line
`coverage`       the gaps of a connector, for `overview`
"""
