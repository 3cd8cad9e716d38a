"""The command `rules`: the rules at X, what would change, and what rules cost."""
