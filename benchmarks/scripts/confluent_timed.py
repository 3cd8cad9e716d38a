"""`confluent_as_written.py`, which also writes down how long Kafka took to acknowledge each post."""

import os
import signal
import sys
import threading
import time

from confluent_kafka import Producer
from simulated import StreamingClient

TOPIC = os.environ["TOPIC"]

times = []
"""For each post: the time of its acknowledgement, and the seconds since `produce`."""


def note(error, message):
    if error is None:
        times.append(f"{time.time()} {message.latency()}")


def hear(producer):
    """Handle delivery reports when they come, not only when the next post comes."""
    while True:
        producer.poll(0.1)


class PostStream(StreamingClient):
    def __init__(self, bearer_token, producer):
        super().__init__(bearer_token)
        self.producer = producer

    def on_data(self, raw_data):
        if stopping:
            sys.exit()
        while True:
            try:
                self.producer.produce(TOPIC, value=raw_data, on_delivery=note)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)


producer = Producer({"bootstrap.servers": os.environ["BOOTSTRAP_SERVERS"], "acks": "all"})
threading.Thread(target=hear, args=(producer,), daemon=True).start()
stream = PostStream(os.environ["BEARER_TOKEN"], producer)
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))  # so that `note` is not interrupted
try:
    stream.filter()
finally:
    producer.flush()
    with open(f"{TOPIC}.times", "w") as file:  # noqa: PTH123  # as users write it
        file.write("\n".join(times))
