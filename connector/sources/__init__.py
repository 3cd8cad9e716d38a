"""
The X end: everything that talks to the X API v2, and the only place that imports tweepy.

Read the package in this order:

`source`    what a task reads: the parts below behind one interface
`stream/`   one connection of one stream, by tweepy's client without its retries; the table of streams
`rest/`     what an HTTP answer means: one table; credentials, rules, the account
`archive/`  what fills gaps, and X's counts
`http/`     sockets that a stop from another thread can cut, sessions, times in headers; others' private names
`handles`   how X's connections are named

Nothing here waits or retries on its own account, except that a refused token is fetched again once and missing rules
are put back once: the task decides when to connect again.
"""
