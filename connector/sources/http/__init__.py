"""How requests to X go out, how a stop ends them, and what the headers of answers say about time."""
