"""
Loads `_avro.c`, which writes the post in a line in Avro's binary form at once.

`compiled` and `broken` are as in `connector.records.native`; without it `post_of` and `avro_encoder` do the work.
"""

from connector.records.native import load

compiled, broken = load("connector.formats.schemas._avro")
