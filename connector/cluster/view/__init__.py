"""
What an operator sees of the group, in one document: for the page, for `top`, and for /history and /events.

All of it comes from what this worker follows in Kafka, so each worker shows the same.

`view`        the whole document
`connectors`  one connector: state, tasks, covered time, gaps
`money`       what was spent, and what that comes to (pure)
`rates`       posts a second, from offsets that rise
`workers`     the workers of the group, and who of them has gone (pure)
`verdict`     is everything all right? (pure)
`changes`     the difference between two documents (pure)
`terms`       what a connector's configuration says that is shown
"""
