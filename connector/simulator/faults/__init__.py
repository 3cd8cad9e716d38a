"""
Faults: what goes wrong, at a time, after a number of posts, or on demand.

`faults`    every fault by name
`schedule`  when a fault runs
`payloads`  the lines and posts that faults write
`gate`      answers that take the place of the API's own
"""
