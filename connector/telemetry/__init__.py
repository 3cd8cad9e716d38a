"""
What a worker tells.

`events/`    everything that can happen, with its log line and its metrics: a module for each room that emits
`metrics`    what is counted, under the names that dashboards rely on
`logs`       how log lines look, and which are let through
`obstacles`  what keeps parts of the worker from their work although Kafka answers
`imports`    what is not imported, as it costs memory and brings nothing
"""
