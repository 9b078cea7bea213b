"""What to expect of weights, measured on cases that they were not trained on: ``expected.json``."""
