"""
The command `connectors`: connectors of a running group, over its REST API.

`command`     the subcommands
`apply`       the subcommand that brings the group to what a folder says
`setup`       their common options, how they answer, and their exit codes
`client`      requests to a worker, and what goes wrong with them
`files`       a connector in a file
`validation`  what a worker thinks of a connector in a file
`plan`        what has to change so that the group is what a folder says (pure)
`shown`       answers as text for people; `printable` keeps control characters out
"""
