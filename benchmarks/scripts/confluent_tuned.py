"""Posts to Kafka by tweepy and confluent-kafka, tuned: larger reads, larger batches, a longer queue."""

import os
import signal
import sys

from confluent_kafka import Producer
from simulated import StreamingClient

TOPIC = os.environ["TOPIC"]


class PostStream(StreamingClient):
    def __init__(self, bearer_token, producer):
        super().__init__(bearer_token, chunk_size=65_536)
        self.producer = producer
        self.produced = 0

    def on_data(self, raw_data):
        while True:
            try:
                self.producer.produce(TOPIC, value=raw_data)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.produced += 1
        if self.produced % 1000 == 0:
            self.producer.poll(0)


producer = Producer(
    {
        "bootstrap.servers": os.environ["BOOTSTRAP_SERVERS"],
        "acks": "all",
        "linger.ms": 20,
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 350_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }
)
stream = PostStream(os.environ["BEARER_TOKEN"], producer)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    stream.filter()
finally:
    producer.flush()
