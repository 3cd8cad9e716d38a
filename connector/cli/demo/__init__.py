"""The connector at work, without an account at X and without Kafka: its processes, its screen, and its proof."""
