"""What fills gaps: search, and a connection on which X repeats an interval; and X's counts, to compare with."""
