"""
The Kafka end.  Only this package, `worker/`, `cluster/` and `web/` know Faust and aiokafka.

`internals`  every private name of aiokafka, Faust and mode that the connector uses, and a check that it exists
`brokers`    the brokers' addresses and the login
`login/`     a connection, its TLS and its login, and why Kafka refuses it
`rights`     which rights the connector needs, and which are missing; `tables` writes them into the documents
`topics`     creates topics and checks their settings, within the `limits` of hosted brokers
`closing`    closes clients of aiokafka
`metadata`   lets no metadata request create a topic
`gate/`      waits for Kafka, and finds out what the brokers can do
`group/`     this worker's place in the consumer group
`delivery/`  writes the batches of one task into Kafka
`state/`     what a group keeps in Kafka
"""
