"""Sinks of others, which read what the connector writes."""
