"""Posts to Kafka by tweepy and kafka-python, as users write it."""

import os
import signal
import sys

from kafka import KafkaProducer
from simulated import StreamingClient

TOPIC = os.environ["TOPIC"]


class PostStream(StreamingClient):
    def __init__(self, bearer_token, producer):
        super().__init__(bearer_token)
        self.producer = producer

    def on_data(self, raw_data):
        self.producer.send(TOPIC, value=raw_data)


producer = KafkaProducer(bootstrap_servers=os.environ["BOOTSTRAP_SERVERS"], acks="all")
stream = PostStream(os.environ["BEARER_TOKEN"], producer)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    stream.filter()
finally:
    producer.flush()
