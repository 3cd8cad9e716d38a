"""
The Kafka end; beside `worker`, `cluster/` and `web/` the only place that knows Faust and aiokafka.

`cluster`     where Kafka is and how to log in
`broker`      waiting for Kafka, and what the broker there can do
`transactions` can the broker do them, and as long ones
`advertised`  do the brokers say of themselves where they can be reached
`metadata`    no request for metadata makes a topic
`watch`       are the topics still there
`topics`      declaring topics and checking their settings
`producer`    Faust's producer with a transactional id of its task
`topic`       the typed channel, which writes batches
`rejects`     what Kafka says of records that it does not take
`sieve`       which records of a batch those are
`delivery`    one task's way into Kafka: fence, read the offset, write transactions
`offsets`     source offsets in Connect's format
`ledger`      which posts were delivered, read back
`partition`   one partition, read up to where it ends
`log`         a compacted topic, read to its end and followed
"""
