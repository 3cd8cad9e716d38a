"""
Loads `_avro.c`, which writes the post in a line in Avro's binary form at once.

`compiled` and `broken` are as in `connector.records.native`; without it `post_of` and `avro_encoder` do the work.
"""

from connector.records import native

compiled, broken = native.load("connector.formats.schemas._avro")


def all_compiled() -> bool:
    """Return whether this and `connector.records.native` are in use: all that there is in C."""
    return compiled is not None and native.compiled is not None
