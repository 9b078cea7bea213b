"""The scores to expect of weights, measured on cases not used in training: ``expected.json``."""
