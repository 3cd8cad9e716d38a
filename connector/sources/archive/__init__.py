"""Ways to get the posts of a gap: search, and a replay of an interval; and X's counts, to check completeness."""
