"""Posts to Kafka by tweepy and confluent-kafka, as users write it."""

import os
import signal
import sys

from confluent_kafka import Producer
from simulated import StreamingClient

TOPIC = os.environ["TOPIC"]


class PostStream(StreamingClient):
    def __init__(self, bearer_token, producer):
        super().__init__(bearer_token)
        self.producer = producer

    def on_data(self, raw_data):
        while True:
            try:
                self.producer.produce(TOPIC, value=raw_data)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)


producer = Producer({"bootstrap.servers": os.environ["BOOTSTRAP_SERVERS"], "acks": "all"})
stream = PostStream(os.environ["BEARER_TOKEN"], producer)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    stream.filter()
finally:
    producer.flush()
