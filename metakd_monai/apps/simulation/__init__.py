"""Two simulators: ``toy`` for teaching and tests, ``training`` for training."""
