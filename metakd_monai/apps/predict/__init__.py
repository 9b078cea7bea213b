"""One case with whatever sequences it has: its mask, picture and report."""
