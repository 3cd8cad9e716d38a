"""
The command `doctor`: looks for what would keep a worker from its work, and names the cure.  It changes nothing.

`command`    the command: options, progress, exit code
`checks`     the table of all checks, and how one is run: bounded in time, its failure kept from the others
`finding`    what a check has found
`case`       what the checks share: the settings, a client of Kafka, X as each connector asks it
`machine`    settings, files with secrets, versions, disk
`account`    X: clock, credentials, plan, connections
`rules`      X: rules, and what they cost
`brokers`    Kafka: the brokers, transactions, rights
`topics`     Kafka: the group's topics, and those of the connectors
`shown`      the findings as text and as JSON
"""
