"""The command `demo`: its processes, its screen, and the comparison at the end."""
