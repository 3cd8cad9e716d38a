"""One connection of one stream: how it begins, its lines, how it ends; and the table of streams."""
