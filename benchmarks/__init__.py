"""Benchmarks: what the connector costs, compared with what a user would write without it."""
