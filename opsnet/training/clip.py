"""Trains the tiny CLIP of the synthetic world contrastively on images and captions.

The result is an ordinary open_clip checkpoint, which ``clip=tiny`` loads as ``clip=rn50`` loads OpenAI's.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn

from opsnet.clip.frozen_clip import OPENAI_MEAN, OPENAI_STD
from opsnet.clip.scope import Scope, words_of
from opsnet.training.values import CLIP
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path
from opsnet.utils.option_values import check_values

log = logging.getLogger(__name__)


class CaptionData:
    """All images and captions of a COCO-captions folder in memory.

    Attributes:
        images: (P, 3, S, S) uint8, RGB.
        captions: the distinct captions.
        caption_ids: (P,), positions in ``captions``.
        tokens: (templates, captions, L) token ids.
        stages: indices of the images of each stage: those with a thing, then all.
    """

    def __init__(self, root: Path, tokenizer: Any, templates: list[str]) -> None:
        annotations = json.loads((root / "captions.json").read_text())
        files = [root / "images" / image["file_name"] for image in annotations["images"]]
        pixels = np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files])
        self.images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        captions = [a["caption"] for a in annotations["annotations"]]
        self.captions = unique = sorted(set(captions))
        position = {caption: i for i, caption in enumerate(unique)}
        self.caption_ids = torch.tensor([position[c] for c in captions])
        self.tokens = torch.stack([tokenizer([t.format(c) for c in unique]) for t in templates])
        has_thing = torch.tensor([bool(a["has_thing"]) for a in annotations["annotations"]])
        self.stages = (has_thing.nonzero().flatten(), torch.arange(len(captions)))

    def batch(self, stage: int, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch: images, token ids, caption ids."""
        pool = self.stages[stage]
        picks = pool[torch.from_numpy(rng.integers(0, len(pool), size))]
        templates = torch.from_numpy(rng.integers(0, self.tokens.shape[0], size))
        ids = self.caption_ids[picks]
        images = self.images[picks].float() / 255
        if rng.random() < 0.5:  # flips do not change any concept's name
            images = images.flip(-1)
        return images, self.tokens[templates, ids], ids


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, caption_ids: Tensor) -> Tensor:
    """CLIP's symmetric loss, in which all pairs with the same caption are positives.

    Args:
        image, text: (B, D), normalised.
        scale: inverse temperature.
        caption_ids: (B,).
    """
    logits = scale * image @ text.T
    same = (caption_ids[:, None] == caption_ids[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(cfg: DictConfig) -> Path:
    """Trains the tiny CLIP, or resumes an interrupted training.

    Args:
        cfg: conf/train_clip.yaml.

    Returns:
        The checkpoint's path; an existing checkpoint is not trained again unless ``cfg.force``.

    Raises:
        InputError: a number is out of range, or the captions have words that ``clip.model.architecture.captions`` does
            not have.
    """
    from hydra.utils import instantiate

    check_values(cfg, CLIP)
    output = Path(cfg.output)
    if output.is_file() and not cfg.force:
        log.info("CLIP checkpoint %s already exists; force=true trains it again", output)
        return output
    instantiate(cfg.prepare)
    torch.manual_seed(cfg.seed)
    model: nn.Module = instantiate(cfg.clip.model.architecture)()
    tokenizer = instantiate(cfg.clip.tokenizer)
    data = CaptionData(Path(cfg.captions), tokenizer, list(cfg.caption_templates))
    _check_scope(getattr(model, "scope", None), data.captions, cfg.captions)
    _fit(model, data, cfg, output)
    _save(output, {"state_dict": model.state_dict()})
    output.with_name(output.stem + "_last.pt").unlink(missing_ok=True)
    return output


def _check_scope(scope: Scope | None, captions: list[str], folder: str) -> None:
    """Refuses captions with words that the CLIP would later be said not to know; "on" joins two concepts."""
    found = {word for caption in captions for word in words_of(caption)} - {"on"}
    if scope is not None and (others := found - scope.words):
        raise InputError(
            f"the captions of {folder} have {len(others)} words, e.g. '{min(others)}', that those of the synthetic "
            "world do not have: give clip.model.architecture.captions=null, here and in opsnet-train"
        )


def _fit(model: nn.Module, data: CaptionData, cfg: DictConfig, output: Path) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    steps = cfg.stage_steps[0] + cfg.stage_steps[1]
    optimizer = _optimizer(model, cfg)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _warmup_cosine(s, cfg.warmup, steps))
    last = output.with_name(output.stem + "_last.pt")
    start = _resume(last, model, optimizer, schedule)
    mean, std = (torch.tensor(list(v)).view(3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    model.train()
    with Progress(*columns) as progress:
        task = progress.add_task("Training the tiny CLIP", total=steps, completed=start)
        for step in range(start, steps):
            # One generator per step: the order of samples does not change if a run is interrupted and resumed.
            rng = np.random.default_rng([cfg.seed, step])
            images, tokens, ids = data.batch(int(step >= cfg.stage_steps[0]), cfg.batch_size, rng)
            image = F.normalize(model.encode_image((images - mean) / std), dim=-1)  # type: ignore[operator]
            text = F.normalize(model.encode_text(tokens), dim=-1)  # type: ignore[operator]
            loss = contrastive_loss(image, text, model.logit_scale.exp(), ids)  # type: ignore[operator]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, description=f"Training the tiny CLIP, loss {loss.item():.2f}")
            if (step + 1) % cfg.save_every == 0:
                log.info("step %d of %d, loss %.2f", step + 1, steps, loss.item())
                states: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
                _save(last, {"step": step + 1, **{k: v.state_dict() for k, v in states.items()}})
    model.eval()


def _optimizer(model: nn.Module, cfg: DictConfig) -> torch.optim.Optimizer:
    """AdamW without weight decay of vectors and scalars; the temperature, which must change most, learns faster."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    scale = [p for n, p in named if n == "logit_scale"]
    matrices = [p for n, p in named if p.ndim > 1]
    vectors = [p for n, p in named if p.ndim <= 1 and n != "logit_scale"]
    groups = [
        {"params": matrices, "weight_decay": cfg.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        {"params": scale, "weight_decay": 0.0, "lr": 5 * cfg.lr},
    ]
    return torch.optim.AdamW(groups, lr=cfg.lr, fused=True)


def _warmup_cosine(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _resume(last: Path, model: nn.Module, optimizer: Any, schedule: Any) -> int:
    if not last.is_file():
        return 0
    state = torch.load(last, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    log.info("Resuming the tiny CLIP at step %d from %s", state["step"], last)
    return int(state["step"])


def _save(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
