"""Files in and out, names of sequences and cases, years, datalists, and the seeded stream of training draws."""
