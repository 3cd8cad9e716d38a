"""What a group keeps in Kafka: source offsets, delivered ids, and compacted topics that workers follow."""
