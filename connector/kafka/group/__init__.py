"""This worker's place in the consumer group."""
