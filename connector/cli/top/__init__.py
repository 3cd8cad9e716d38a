"""The command `top`: how the group is, in a terminal."""
