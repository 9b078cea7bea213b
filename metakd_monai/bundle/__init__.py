"""The bundles: where they lie, how their cases are split, what their configurations call."""
