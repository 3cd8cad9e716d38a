"""
What travels from X to Kafka.

`record`     an arrival, a record, a batch, and the memory they take
`post`       what is in a line of X; the typed `Post`
`scanner`    JSON by its grammar, for lines that a parser refuses
`snowflake`  the time in an id
`clock`      a UNIX clock that does not jump
`native`     the part in C, where it was built
"""
