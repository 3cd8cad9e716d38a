"""
Streams: who is connected, which posts reach which connection, and how a connection ends.

`streams`     the way of a post to all connections
`endpoints`   the streams of the API, in a table
`slots`       open connections, and the slots that dead clients hold
`delivery`    one post to one connection, and its price
`replays`     backfill and recovery
`disorder`    delays, duplicates and hostile lines
`connection`  one connection: what is written, and how it ends
`messages`    what a connection asks for, and what is on its way to it
`framing`     messages as chunks
`pacing`      when the next post is due
`feed`        prepared bytes for benchmarks
`emissions`   what was written to whom, which tests compare with the topic
"""
