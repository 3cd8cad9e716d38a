"""
The group of workers: which worker runs which task, and what all workers know of all tasks.

`assignment`  the group's assignor: deals the slots in use evenly, and moves as few as possible
`statuses`    the states of all tasks, shared in a compacted topic
`requests`    requests to retry or accept gaps, shared in another compacted topic
`herder`      starts and stops this worker's tasks
`overview`    what this worker knows of all connectors, for the web and the command line
`coverage`    the gaps of a connector, for `overview`
"""
