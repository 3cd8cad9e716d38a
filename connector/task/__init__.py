"""
One task: from the thread that reads one source to the batches that Kafka has confirmed.

`ports`       what a task needs from outside: the X end, the Kafka end, what operators ask
`reader`      keeps a source connected, in a thread
`buffer`      the one crossing from that thread to the event loop
`converter`   turns lines into records or dead letters, and drops duplicates
`subscribers` the connectors that a task reads for, `subscriber` one of them; several may share a stream
`router`      says which of them a line is for; `rule_keeper` keeps their rules at X while the stream is read
`batcher`     makes the next batch for Kafka
`in_flight`   holds the batches that Kafka has not confirmed
`sifting`     finds the posts that the topic refuses; `refusal` decides what becomes of their batch
`task`        the life of a task: open, read, take turns, start over, stop
`partition`   one connector's part of one source partition: its progress, the repairer of its gaps
`repair/`     how gaps are repaired
`ownership`   does this worker still own the task?
`pace`        how long a task waits between turns and between batches; `wake` ends such a wait
`reporting`   what a task says about itself; `status` has the states
`known_ids`   loads ids of delivered posts from the ledger in Kafka
`backoff`     how long to wait after which error
`time_limit`  ends a task some time after its first connection
`settings`    what a task is told of the configuration: of the stream, and of each connector
`console`     posts on standard output
`endings`     lets an end complete although its caller is cancelled
"""
