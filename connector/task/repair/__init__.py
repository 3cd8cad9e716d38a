"""How gaps are filled: which way (`policy`), page by page (`repairer`), and what operators ask of them (`orders`)."""
