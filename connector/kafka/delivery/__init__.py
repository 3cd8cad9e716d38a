"""
Writes the batches of one task into Kafka.

`sink`           fences the previous owner, reads the committed offset, writes transactions
`producer`       Faust's producer with the transactional id of its task
`posts_topic`    the typed channel of an output topic
`writing`        writes a batch: records, dead letters, ledgers and offsets
`record_batch`   builds Kafka's record batches from posts: the hot path
`partitioner`    Java's murmur2, for a whole batch in one call
`small_batches`  writes small batches without aiokafka's sender
`pipelining`     several produce requests in flight to each broker
`once`           sends each request of a transaction only once
`record_writer`  writes records of the group's own topics, in a bounded time
`gone`           lets a delivery fail at once when its partition is gone
`rejects`        notes which partitions refuse records, and why
`sieve`          finds the records of a batch that Kafka refuses
"""
