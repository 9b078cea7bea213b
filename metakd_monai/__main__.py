"""``python -m metakd_monai`` is ``metakd``."""

from metakd_monai.cli import main

if __name__ == "__main__":
    main()
