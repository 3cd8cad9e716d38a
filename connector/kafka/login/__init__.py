"""A connection to a broker: its TLS, its login, and one sentence for each way in which it is refused."""
