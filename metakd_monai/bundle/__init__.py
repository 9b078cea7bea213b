"""The bundles: where they are, how their cases are split, and what their configurations call."""
