"""The command `tail`: posts from the topic."""
