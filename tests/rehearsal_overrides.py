"""Overrides that make a rehearsal of ``experiment=opsnet_r50`` small, on COCO with one image per set."""

from __future__ import annotations

# Only sizes and counts, and random weights instead of downloads.
SMALL_R50 = (
    "experiment=opsnet_r50",
    "++data.module.train.transform.size=64",
    "data.shortest=64",
    "data.longest=96",
    "data.module.batch_size=1",
    "optim.optimizer.lr=1e-5",
    "data.module.num_workers=1",
    "trainer.accelerator=cpu",
    "backbone.pretrained=false",
)
RANDOM_CLIP = ("clip.model.weights=random", "clip.model.architecture.pretrained=null")
ONLY_COCO = tuple(f"~data.module.test.{name}" for name in ("ade20k", "ade20k_semantic", "cityscapes", "pascal_context"))
