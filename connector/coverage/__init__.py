"""
What is delivered, what is missing, what has it cost?  Nothing here waits, reads or sends.

`progress`   the state of one source partition
`offset`     the source offset: covered time, and the gaps in it
`ledger`     which posts were delivered lately, and its bytes
`spend`      what X charges, and when it is enough
`allowance`  what the reader thread is told of that
"""
