"""
One task: from the thread that reads one source to the batches that Kafka has confirmed.

`reader`     keeps a source connected, in a thread
`buffer`     the one crossing from that thread to the event loop
`converter`  turns lines into records or dead letters, and drops duplicates
`batcher`    makes the next batch for Kafka
`in_flight`  holds the batches that Kafka has not confirmed
`refusal`    what becomes of a batch of which the topic refuses some posts
`task`       poll, deliver, commit, and start over
`repair/`    how gaps are repaired
`backoff`    how long to wait after which error
`status`     the states of a task
`console`    posts on standard output
`endings`    lets an end complete although its caller is cancelled
"""
