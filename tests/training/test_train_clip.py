"""Training of the tiny CLIP: its loss computed by hand, its checkpoint, and exact resumption."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from opsnet.clip.loading import load_clip
from opsnet.clip.tiny import tiny_clip
from opsnet.training.clip import CaptionData, _warmup_cosine, contrastive_loss, train_clip
from opsnet.utils.errors import InputError


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def captions(tmp_path_factory) -> Path:
    from opsnet.miniature.scenes import write_captions

    folder = tmp_path_factory.mktemp("captions") / "captions"
    write_captions(folder, seed=0, count=40, workers=1)
    return folder


@pytest.fixture(scope="module")
def config(compose, captions):
    """(output, overrides) -> a training of four steps."""

    def make(output: Path, *overrides: str):
        small = ["prepare.count=40", "stage_steps=[2,2]", "batch_size=8", "warmup=2", "save_every=2"]
        return compose("train_clip", f"output={output}", f"captions={captions}", *small, *overrides)

    return make


@pytest.fixture(scope="module")
def clip_file(config, tmp_path_factory) -> Path:
    return train_clip(config(tmp_path_factory.mktemp("clip") / "tiny.pt"))


def test_the_loss_of_distinct_captions_is_clips() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (F.normalize(torch.randn(3, 4, generator=generator), dim=-1) for _ in range(2))
    logits = 7.0 * image @ text.T
    rows = -torch.log_softmax(logits, 1).diagonal().mean()
    columns = -torch.log_softmax(logits, 0).diagonal().mean()
    loss = contrastive_loss(image, text, torch.tensor(7.0), torch.tensor([5, 2, 9]))
    assert loss.item() == pytest.approx(((rows + columns) / 2).item(), rel=1e-6)


def test_equal_captions_are_positives_of_one_another() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    text = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    logits = 2.0 * image @ text.T
    target = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])  # 0 and 1 have the same caption
    sides = [-(target * torch.log_softmax(side, 1)).sum(1).mean() for side in (logits, logits.T)]
    loss = contrastive_loss(image, text, torch.tensor(2.0), torch.tensor([4, 4, 1]))
    assert loss.item() == pytest.approx(sum(sides).item() / 2, rel=1e-6)
    apart = contrastive_loss(image, text, torch.tensor(2.0), torch.tensor([4, 3, 1]))
    assert apart.item() != pytest.approx(loss.item(), rel=1e-3)


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    rates = [_warmup_cosine(s, 4, 20) for s in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[12] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(0, abs=1e-9)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_first_stage_has_only_images_with_a_thing(config, captions) -> None:
    cfg = config(Path("nowhere"))
    data = CaptionData(captions, instantiate(cfg.clip.tokenizer), ["{}", "a {}"])
    things, everything = data.stages
    assert len(everything) == 40
    assert 0 < len(things) < 40
    images, tokens, ids = data.batch(0, 6, np.random.default_rng(0))
    assert images.shape == (6, 3, 32, 32)
    assert 0 <= images.min() < images.max() <= 1
    assert tokens.shape == (6, 12)
    assert data.tokens.shape[:2] == (2, len(set(data.caption_ids.tolist())))
    assert set(ids.tolist()) <= set(data.caption_ids[things].tolist())
    again = data.batch(0, 6, np.random.default_rng(0))
    assert torch.equal(images, again[0]) and torch.equal(tokens, again[1])


def test_the_checkpoint_is_one_of_open_clip(clip_file, config) -> None:
    state = torch.load(clip_file, weights_only=True)["state_dict"]
    assert {"logit_scale", "visual.conv1.weight", "visual.attnpool.c_proj.weight"} <= set(state)
    loaded = load_clip(architecture=tiny_clip, weights=clip_file)
    assert same(loaded.state_dict(), state)
    assert all(v.isfinite().all() for v in state.values())
    torch.manual_seed(0)
    start = tiny_clip().state_dict()
    moved = [k for k in state if not torch.equal(state[k], start[k])]
    assert "visual.conv1.weight" in moved
    assert "text.projection.weight" in moved
    assert "logit_scale" in moved
    assert not clip_file.with_name("tiny_last.pt").exists()


def test_a_resumed_training_ends_with_the_same_weights(clip_file, config, tmp_path, monkeypatch) -> None:
    output = tmp_path / "tiny.pt"
    calls = []

    def stop(*given):
        calls.append(given)
        if len(calls) == 4:  # in the fourth step; the state after the second is on disk
            raise KeyboardInterrupt
        return contrastive_loss(*given)

    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.clip.contrastive_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            train_clip(config(output))
    assert not output.exists()
    assert torch.load(tmp_path / "tiny_last.pt", weights_only=True)["step"] == 2
    torch.rand(10)
    train_clip(config(output))
    ours, theirs = (torch.load(f, weights_only=True)["state_dict"] for f in (output, clip_file))
    assert same(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.pt"]


def test_an_existing_checkpoint_is_kept_unless_forced(clip_file, config, tmp_path) -> None:
    output = tmp_path / "tiny.pt"
    output.write_bytes(b"mine")
    assert train_clip(config(output)) == output
    assert output.read_bytes() == b"mine"
    train_clip(config(output, "force=true", "stage_steps=[1,0]"))
    load_clip(architecture=tiny_clip, weights=output)


def test_captions_with_other_words_need_a_clip_that_claims_nothing(config, captions, tmp_path) -> None:
    """Otherwise prediction would call the words that it was trained on unknown."""
    shutil.copytree(captions, tmp_path / "captions")
    path = tmp_path / "captions" / "captions.json"
    path.write_text(path.read_text().replace("stripes", "zebra stripes"))
    given = [f"captions={tmp_path / 'captions'}", "prepare={_target_: builtins.dict}"]
    with pytest.raises(InputError, match=r"have 1 words, e.g. 'zebra', .* give clip.model.architecture.captions=null"):
        train_clip(config(tmp_path / "a.pt", *given))
    assert train_clip(config(tmp_path / "b.pt", *given, "clip.model.architecture.captions=null")).is_file()
