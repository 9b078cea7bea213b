"""Weights of a trained network: found, checked, loaded, published, exported."""
