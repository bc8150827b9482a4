"""compare=recognizers: which recognizers are compared on which network, with what, and what excludes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mask2former_peer import SMALL, random_peer, resnet

from opsnet.clip.image_encoder import ClipImageEncoder
from opsnet.evaluation.comparison import check_comparison, compared_settings
from opsnet.evaluation.options import EvaluationOptions
from opsnet.evaluation.run import evaluate
from opsnet.inference.config import FULL
from opsnet.recognition.learned_modulation import LearnedModulation
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation
from opsnet.utils.errors import InputError

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_models" / "fcclip_small" / "convnext"
OTHERS = [
    "clip_only", "coat", "ensemble_1", "ensemble_2", "ensemble_3", "ensemble_4", "full", "fusion_only",
    "geometric_ensemble", "query_only",
]  # fmt: skip
CLIP_ONLY: dict[str, Any] = {"_target_": "opsnet.recognition.modulation.ClipOnly"}
LEARNED = {"_target_": "opsnet.recognition.learned_modulation.LearnedModulation", "alpha": 10.0, "beta": 0.5}


def with_own_filter(*names: str) -> list[str]:
    return [f"{name}/trained" for name in names]


# --- what is compared -------------------------------------------------------------------------------------------------


def test_every_recognizer_with_the_networks_filter_its_own_first() -> None:
    rest = [name for name in OTHERS if name != "full"]
    assert compared_settings(FULL, EmbeddingModulation()) == with_own_filter("full", *rest)
    changed = {**FULL, "alpha": 5.0, "beta": 0.25}
    own = with_own_filter("alpha=5,beta=0.25", *OTHERS)
    assert compared_settings(changed, EmbeddingModulation(alpha=5, beta=0.25)) == own


def test_a_recognizer_that_learns_is_compared_as_trained_and_never_untrained() -> None:
    # Its numbers are those of conf/modulation/learned.yaml, but its name would build an untrained one.
    assert compared_settings(LEARNED, LearnedModulation()) == with_own_filter("trained", *OTHERS)
    assert "learned/trained" not in compared_settings(FULL, EmbeddingModulation())


def test_without_trained_query_embeddings_only_clip_is_left() -> None:
    assert compared_settings(CLIP_ONLY, ClipOnly(), query_embeddings=False) == with_own_filter("clip_only")


# --- what excludes it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compare": "filters"}, "compare=filters is unknown: give compare=recognizers, or null"),
        ({"compare": "recognizers", "table": 4}, "give either compare=recognizers or table=4: each has its own"),
        ({"compare": "recognizers", "settings": ("full/cls",)}, r"not|or settings=\[...\]; .* add settings=null"),
    ],
)
def test_options_that_exclude_each_other(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_comparison(EvaluationOptions(Path("out"), **given))


def test_without_a_comparison_nothing_is_excluded() -> None:
    check_comparison(EvaluationOptions(Path("out"), settings=("full/cls",)))
    check_comparison(EvaluationOptions(Path("out"), table=4))


def test_it_is_checked_before_the_checkpoint_is_read(compose, tmp_path: Path) -> None:
    cfg = compose("evaluate", "checkpoint=no.ckpt", "compare=recognizers", "table=4", f"output={tmp_path}")
    with pytest.raises(InputError, match="compare=recognizers or table=4"):
        evaluate(cfg)


# --- published weights ------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(compose, world_overrides, tmp_path: Path):
    """Overrides -> names of the settings that were scored on the unseen domain, in their order."""

    def run(*overrides: str) -> list[str]:
        few = ["~data.module.test.scenes", "~data.module.test.scenes_street", "panels=0", "details=false", "device=cpu"]
        compared = [] if "compare=null" in overrides else ["compare=recognizers"]
        given = [*world_overrides, *few, *compared, f"output={tmp_path}", *overrides]
        found = evaluate(compose("evaluate", *given)).metrics
        assert json.loads((tmp_path / "results.json").read_text())["metrics"] == found
        names = [key.removesuffix("/PQ") for key in found if key.endswith("/PQ")]
        assert all({f"{name}/PQ_unseen", f"{name}/mIoU"} <= found.keys() for name in names)
        return [name.removeprefix("scenes_novel/") for name in names]

    return run


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published model is not at {PUBLISHED}")
def test_fcclips_weights_under_every_recognizer_in_one_pass(evaluated, monkeypatch) -> None:
    passes, run = [], ClipImageEncoder._run
    monkeypatch.setattr(ClipImageEncoder, "_run", lambda self, x, *a: passes.append(len(x)) or run(self, x, *a))
    weights = [f"checkpoint={PUBLISHED / 'model_final.pth'}", f"clip_model={PUBLISHED / 'open_clip_config.json'}"]
    rest = [name for name in OTHERS if name != "geometric_ensemble"]
    assert evaluated(*weights) == with_own_filter("geometric_ensemble", *rest)
    assert sum(passes) == 8  # once per image


def test_a_mask2former_has_clip_alone_also_from_its_stored_proposals(evaluated, world, tmp_path: Path) -> None:
    random_peer(resnet(), **SMALL).save_pretrained(tmp_path / "peer")
    weights = [f"checkpoint={tmp_path / 'peer'}", "clip_model=tiny", f"clip_weights={world.clip}"]
    assert evaluated(*weights, "save_proposals=true") == with_own_filter("clip_only")
    assert evaluated(f"proposals={tmp_path}") == with_own_filter("clip_only")


def test_a_mask2former_is_scored_by_clip_alone_by_default_and_nothing_else_is_allowed(
    evaluated, world, tmp_path: Path, caplog
) -> None:
    random_peer(resnet(), **SMALL).save_pretrained(tmp_path / "peer")
    weights = [f"checkpoint={tmp_path / 'peer'}", "clip_model=tiny", f"clip_weights={world.clip}", "compare=null"]
    with caplog.at_level("INFO"):
        assert evaluated(*weights) == with_own_filter("clip_only")
    assert "no trained query embeddings: only clip_only/trained is scored" in caplog.text
    with pytest.raises(
        InputError, match="setting full/cls_iou: .* has no trained query embeddings: choose a setting clip"
    ):
        evaluated(*weights, "settings=[clip_only/iou,full/cls_iou]")
