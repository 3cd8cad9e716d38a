"""The command `audit`: compares the posts in the topic with X's counts."""
