"""
Events, log and metrics of a worker.

`events/`    everything that can happen, with its log line and its metrics; a module for each package that emits
`catalogue`  the metrics, each declared once, under the names that dashboards rely on; `docs` writes the page
`metrics`    counters and histograms, made of these declarations
`traces`     OpenTelemetry's spans, made of events; imported only where somebody wants them
`logs`       the format of log lines, and which lines are suppressed
`obstacles`  why parts of the worker cannot work although Kafka answers
`imports`    keeps libraries from importing optional modules that only cost memory
"""
