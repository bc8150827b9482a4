"""``opsnet-score --gt GT.json --pred PRED.json``: panoptic quality of COCO panoptic predictions.

Reads the same files as panopticapi and gives the same numbers. Imports neither torch nor the model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from opsnet.utils.errors import exit_on_user_error


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point; exit code 2 and one sentence if files are missing or inconsistent."""
    options = _parser().parse_args(arguments)
    with exit_on_user_error():
        from opsnet.evaluation.score import score
        from opsnet.evaluation.score_printing import print_json, print_score

        result = score(options.gt, options.pred, options.gt_dir, options.pred_dir, progress=sys.stderr.isatty())
        if options.json:
            print_json(result)
        else:
            print_score(result, options.per_class)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="opsnet-score", description="Panoptic quality of COCO panoptic predictions.")
    parser.add_argument("--gt", required=True, help="json of the ground truth")
    parser.add_argument("--pred", required=True, help="json of the prediction")
    parser.add_argument("--gt-dir", help="PNGs of the ground truth (default: the json's path without .json)")
    parser.add_argument("--pred-dir", help="PNGs of the prediction (default: the json's path without .json)")
    parser.add_argument("--json", action="store_true", help="print json, with every class, instead of tables")
    parser.add_argument("--per-class", action="store_true", help="print a table of classes too")
    return parser


if __name__ == "__main__":
    main()
