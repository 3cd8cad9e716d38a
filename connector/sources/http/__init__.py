"""HTTP below the calls to X: sessions, sockets that a stop can shut, and times in headers."""
