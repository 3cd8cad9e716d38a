"""
Faults: what goes wrong, by name, at a time or on demand.

`faults`  every fault by name, and the schedule
`gate`    answers that take the place of the API's own
"""
