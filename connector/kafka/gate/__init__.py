"""Is Kafka there, can it do what we need, and are the topics and rights there?  Before the start, and while it runs."""
