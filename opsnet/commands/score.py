"""``opsnet-score gt=GT.json pred=PRED.json``: panoptic quality of COCO panoptic predictions.

Reads the same files as panopticapi and gives the same numbers. Imports neither torch nor the model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from opsnet.commands.arguments import asks_for_help, read_options
from opsnet.commands.help import Help
from opsnet.utils.errors import InputError, exit_on_user_error

HELP = Help(
    name="opsnet-score",
    about="panoptic quality of predictions on disk, both in COCO's panoptic format; the numbers of panopticapi.",
    examples=(
        ("PNG folders beside the jsons", "opsnet-score gt=panoptic_val.json pred=predictions.json"),
        ("PNGs elsewhere", "opsnet-score gt=panoptic_val.json pred=predictions.json gt_dir=truth pred_dir=predictions"),
        ("every class", "opsnet-score gt=panoptic_val.json pred=predictions.json --per-class"),
        ("for a program", "opsnet-score gt=panoptic_val.json pred=predictions.json --json"),
        ("Boundary PQ too", "opsnet-score gt=panoptic_val.json pred=predictions.json --boundary"),
        ("with dashes", "opsnet-score --gt panoptic_val.json --pred predictions.json"),
    ),
    keys={
        "gt": "json of the ground truth",
        "pred": "json of the prediction",
        "gt_dir": "PNGs of the ground truth; the json's path without .json by default",
        "pred_dir": "PNGs of the prediction, likewise",
        "json": "print json, with every class, instead of tables",
        "per_class": "print a table of classes too",
        "boundary": "Boundary PQ too: min(IoU, Boundary IoU) as IoU (Cheng et al. 2021)",
    },
    more="Read on: docs/datasets.md (the format). opsnet-predict writes such a json and PNGs.",
    ask="nothing to score: give gt=GT.json and pred=PRED.json",
    is_configured=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point; exit code 2 and one sentence if files are missing or inconsistent."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with exit_on_user_error():
        if asks_for_help(given):
            print(HELP.text())
            return
        if not given:
            raise HELP.refuse_bare()
        options = read_options(given, list(HELP.keys), switches=("json", "per_class", "boundary"))
        for key in ("gt", "pred"):
            if key not in options:
                raise InputError(f"{key} is missing: give {key}=FILE.json, {HELP.keys[key]}")
        _score(**options)


def _score(
    gt: str, pred: str, gt_dir: str | None = None, pred_dir: str | None = None, json: bool = False,
    per_class: bool = False, boundary: bool = False,
) -> None:  # fmt: skip
    from opsnet.evaluation.score import score
    from opsnet.evaluation.score_printing import print_json, print_score

    result = score(gt, pred, gt_dir, pred_dir, progress=sys.stderr.isatty(), boundary=boundary)
    if json:
        print_json(result)
    else:
        print_score(result, per_class)


if __name__ == "__main__":
    main()
