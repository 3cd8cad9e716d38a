"""
What X takes back: its compliance events, and which posts of a topic they concern.  Neither module waits or sends.

`events`   a line of a compliance stream
`memory`   which posts are in the topic, who wrote them, and what was withdrawn lately; and its form in Kafka

Only connectors of the stream `compliance` import this room.
"""
