"""
The data on its way from X to Kafka.

`record`     an arrival, a record, a batch, and the memory that they take
`post`       reads the post id of a line of X; the typed `Post`
`scanner`    reads JSON by its grammar, for lines that a parser refuses
`snowflake`  the creation time in a post id
`clock`      a UNIX clock that does not jump
`native`     loads the compiled code, if it was built
"""
