"""How gaps are repaired: by which way (`policy`), page by page (`repairer`), and as operators ask (`orders`)."""
