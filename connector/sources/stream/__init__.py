"""One connection of one stream: its begin, its lines and its end; and the table of streams."""
