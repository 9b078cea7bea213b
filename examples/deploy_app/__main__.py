"""``python examples/deploy_app --input STUDY --output OUT --model BUNDLE``."""

import sys

from app import CONFIG, SegmentationApp

from metakd_monai.errors import find_user_error


def main() -> int:
    """Run the application; return 0, or 1 after a line that says what was wrong with the input."""
    app = SegmentationApp()
    app.config(str(CONFIG))
    try:
        app.run()
    except Exception as error:
        known = find_user_error(error)
        if known is None:
            raise
        sys.stderr.write(f"deploy_app: {known}\n")
        return 1
    return 1 if app.unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
