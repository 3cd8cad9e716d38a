"""
Which posts of a source partition are delivered, which are missing, and what have they cost?

Nothing here waits, reads from X or Kafka, or sends.

`progress`   the state of one source partition
`offset`     the source offset: covered time, and the gaps in it
`ledger`     the ids of posts that were delivered lately, and their encoding
`spend`      what X charges, and when a budget is reached
`allowance`  how much of the budget the reader thread may still use
"""
