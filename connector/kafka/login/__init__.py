"""Connections to a broker: TLS, login, and a sentence for operators on each way in which a connection is refused."""
