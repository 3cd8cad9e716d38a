"""
Single message transforms: what may change, route or drop a record before it is delivered.

They are configured as in Kafka Connect.  Those with Connect's names do with values without a schema what those of
Apache Kafka 4.3.0 do; docs/transforms.md says where they cannot.

`record`        what a transform gets and returns; `values` reads a line of X, and writes a record's key and value
`transformer`   what a connector's transforms make of a post: the record to deliver
`chain`         applies the transforms of a connector, in order
`catalogue`     the table of all transforms and predicates
`own`           transforms of other packages, by the entry point group `murmuration.transforms`
`part`          the key or the value of a record; `paths`, a field in it
`moment`        a time between two transforms; `date_format`, Java's SimpleDateFormat, by which `date_reading` reads
`java_regex`    Java's regular expressions, as far as they are safe

Each other module is one transform of that name; `predicates` has all predicates.
"""

from connector.transforms.record import Record

__all__ = ["Record"]
