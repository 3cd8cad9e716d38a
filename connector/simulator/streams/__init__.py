"""
Streams: who is connected, which posts reach which connection, and how a connection ends.

`streams`     the way of a post to all connections
`endpoints`   the streams of the API, in a table
`slots`       open connections, and the slots that dead clients hold
`delivery`    the last step of a post: whether, as which line, at which price
`replays`     backfill and recovery
`disorder`    delays, duplicates and hostile lines
`connection`  one connection: its writes, and its end
`messages`    what a client asks for, and the messages on their way to the client
`framing`     messages as chunks
`pacing`      when the next post is due
`feed`        prepared bytes for benchmarks
`emissions`   what was written to whom, which tests compare with the topic
"""
