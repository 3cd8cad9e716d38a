"""
A real Apache Kafka for the demo, with Python alone: `java` finds a Java, `jars` brings Kafka's jars, `broker` makes its
folder and its command, and `programs` runs what is needed for that.

`pins` writes jars.jsonl, which lists the jars with their checksums.
"""
