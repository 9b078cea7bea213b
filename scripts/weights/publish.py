"""Write the weights that the bundle ships: a trained network's state dict in numbers of 16 bits, with its stride.

Usage: publish.py CHECKPOINT_OR_MODEL ... --output models/model.pt [--input-stride 2] [--modality-specific-scales 2]
           [--window X,Y,Z|whole] [--thresholds ET TC WT] [--expected FILE] [--cases FOLDER ...]

Of several files, trained by one recipe from the same start, the mean is published.

Beside them goes expected.json (metakd_monai.apps.predict.expectations), for what metakd predict says of a case: the
Dice of --expected, as metakd study writes it, and the ranges that the cases of the folders span, which
are to be as those of the training were. The same weights give the same bytes, so the same SHA-256: publish, evaluate,
publish again with --expected. Of these two parts, one that is not given stays as it is in an expected.json of the
same weights.
"""

import argparse
import sys
from pathlib import Path

from metakd_monai.apps.predict.expectations_file import publish_expectations
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Region
from metakd_monai.weights.publish import publish


def main() -> int:
    """Publish; 1 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+", metavar="CHECKPOINT_OR_MODEL")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--input-stride", type=int, help="default: what the weights say")
    parser.add_argument(
        "--modality-specific-scales", type=int, help="give each modality copies of so many shared scales"
    )
    parser.add_argument("--window", help="that the weights are run on, X,Y,Z or whole; default: what they say")
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs=len(Region),
        metavar=tuple(region.name for region in Region),
        help="probabilities that become 0.5, the threshold of whoever uses the weights",
    )
    parser.add_argument("--expected", type=Path, help="measured Dice, see metakd_monai.apps.predict.expectations")
    parser.add_argument("--cases", type=Path, nargs="+", default=[], help="folders of cases as those of the training")
    options = parser.parse_args()
    try:
        given = (options.input_stride, options.modality_specific_scales, options.thresholds, options.window)
        print(publish(options.source, options.output, *given))
        if options.expected is not None or options.cases:
            print(publish_expectations(options.output, options.expected, options.cases))
    except (UserError, ValueError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
