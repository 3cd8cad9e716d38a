"""
The X end: all code that talks to the X API v2, and the only package that imports tweepy.

Read the package in this order:

`source`    what a task reads: the modules below behind one interface
`stream/`   one connection of one stream, by tweepy's client without its retries; the table of streams
`rest/`     REST calls: the table that gives each HTTP answer its meaning; credentials, rules, the account
`archive/`  repair of gaps by search or replay, and X's counts of posts
`http/`     sockets that another thread can shut, sessions, times in headers; private names of other libraries
`handles`   how the connector names its connections at X

A source does not wait or retry; the task decides when to connect again.  There are two exceptions: a refused token is
fetched again once, and missing rules are added again once.
"""
