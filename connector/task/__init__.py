"""
One task: from the thread that reads one source to the batches that Kafka has confirmed.

`reader`     keeps a source connected, in a thread
`buffer`     the one crossing from there to the event loop
`converter`  lines become records, dead letters, or nothing
`batcher`    all that is there for Kafka becomes a batch
`in_flight`  the batches that Kafka has not confirmed
`refusal`    what becomes of a batch of which the topic refuses some posts
`task`       poll, deliver, commit, and start over
`repair/`    how gaps are filled
`backoff`    how long to wait after which error
`status`     the states of a task
`console`    posts on standard output
`endings`    what has to come to its end
"""
