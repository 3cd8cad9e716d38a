"""
What has happened in a group, and how much was received, delivered and spent in each minute; all of it pure.

    events of this worker ─▶ recorder ─▶ records ─▶ <group>-history ─▶ records ─▶ fold: what each worker shows

Read the package in this order:

`records`   what lies in the topic: minutes, ten minutes, events
`tally`     how much of everything there was in the minute that goes on
`timeline`  which events are told to the group, and the sentence of each
`recorder`  takes the events of this worker
`channels`  counts over time, finer for what is recent, in bounded memory
`fold`      what the records of all workers say together
`ranges`    the ranges that can be asked for, and how many points each has
"""
