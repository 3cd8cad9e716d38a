"""
The X end: everything that talks to the X API v2, and the only place that imports tweepy.

Read the package in this order:

`streams`       the table of streams, and which partitions a task reads
`source`        what a task reads: the parts below behind one interface
`connection`    one connection of one stream, by tweepy's client without its retries
`lines`         pieces of a body → whole lines, posts apart from error lines
`wire`          sockets that a stop from another thread can cut, and chunked bodies read in bulk
`api`           REST, and what an HTTP answer means: one table
`credentials`   a bearer token, or a key pair exchanged for one
`rules`         the rules X should hold, the difference, applying it
`account`       connections held at X, rule counts, usage

Nothing here waits or retries on its own account, except that a refused token is fetched again once and missing rules
are put back once: the task decides when to connect again.
"""
