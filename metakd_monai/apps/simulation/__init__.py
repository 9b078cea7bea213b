"""Two simulators: ``toy`` to teach and test with, ``training`` to train on."""
