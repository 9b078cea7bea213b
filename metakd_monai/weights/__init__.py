"""Weights of a trained network: find, check, load, publish and export them."""
