"""Is in the topic what X counts?  The command, and the comparison behind it."""
