"""
Which worker runs which task, and what the others know of it.

`assignment`  the group's assignor: even over the slots in use, and sticky
`statuses`    the states of all tasks, shared over a compacted topic
`requests`    what people ask of gaps, shared over another
`herder`      starts and stops this worker's tasks
"""
