"""Checks that Kafka answers and has what a worker needs: features, topics, rights; at the start and later."""
