"""
One task's way into Kafka.

`sink`           fence, read the offset, write transactions
`producer`       Faust's producer with a transactional id of its task
`posts_topic`    the typed channel, which writes batches
`record_batch`   posts as Kafka's bytes: the hot path
`partitioner`    Java's murmur2 for a batch at once
`small_batches`  writes small batches without aiokafka's sender
`pipelining`     several produce requests under way
`once`           requests of a transaction are sent once
`gone`           a partition that is gone is not waited for
`rejects`        what Kafka says of records that it does not take
`sieve`          which records of a batch those are
"""
