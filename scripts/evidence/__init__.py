"""What `evaluate_real.py` is made of: rows of scores, the issue's aims, a report, pictures."""
