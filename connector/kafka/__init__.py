"""
The Kafka end; beside `worker/`, `cluster/` and `web/` the only place that knows Faust and aiokafka.

`internals`  every private name of aiokafka, Faust and mode, and whether it is there
`brokers`    where they are
`login/`     a connection, its TLS and its login, and why it is refused
`rights`     which rights the connector needs, and which are missing; `tables` writes them into the documents
`topics`     declaring topics and checking their settings, within the `limits` of hosted brokers
`metadata`   no request for metadata makes a topic
`gate/`      waiting for Kafka, and what it can do
`group/`     this worker's place in the group
`delivery/`  one task's way into Kafka
`state/`     what a group keeps there
"""
