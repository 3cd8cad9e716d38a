"""
Streams: who is connected, what is written to each connection, and how each ends.

`streams`     all connections, and the way of a post to them
`connection`  one connection: what is written, what the kernel took, how it ends
`framing`     messages as chunks
`pacing`      when the next post is due
`emissions`   what was written to whom: the truth for tests
`feed`        prepared bytes for benchmarks
"""
