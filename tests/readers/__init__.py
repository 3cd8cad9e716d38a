"""Readers of topics, in other languages."""
