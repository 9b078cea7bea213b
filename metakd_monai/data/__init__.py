"""File input and output, names of sequences and cases, years, datalists, and the seeded stream of training data."""
