"""Readers of topics with values that have a schema, in other languages."""
