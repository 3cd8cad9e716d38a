"""What a group keeps in Kafka: source offsets, the ids that were delivered, and compacted topics that workers follow."""
