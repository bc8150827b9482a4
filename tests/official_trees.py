"""Small folders in the layouts and encodings in which datasets are distributed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from shard_writing import image_bytes, write_info, write_tar

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.vocabulary import Vocabulary


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cityscapes_tree(root: Path) -> None:
    """Two cities with stuff, things with and without instances, groups, and classes that are not evaluated."""
    rng = np.random.default_rng(0)
    values = [0, 3, 4, 7, 8, 11, 15, 17, 21, 23, 24, 26, 29, 24000, 24001, 25003, 26011, 29001, 33000, 33999]
    for split in ("train", "val"):
        for city, number in (("aachen", 19), ("ulm", 5), ("ulm", 12)):
            stem = f"{city}_000000_{number:06d}"
            blocks = rng.choice(values, (6, 8)).astype(np.uint16)
            save(
                root / "gtFine" / split / city / f"{stem}_gtFine_instanceIds.png",
                np.kron(blocks, np.ones((4, 4), np.uint16)),
            )
            classes = np.where(blocks >= 1000, blocks // 1000, blocks).astype(np.uint8)
            save(
                root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png",
                np.kron(classes, np.ones((4, 4), np.uint8)),
            )
            image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)


def ade20k_tree(root: Path) -> dict[str, np.ndarray]:
    """Class maps and instance maps as distributed: wall, bed (twice), a bed without instance, person, void."""
    classes = np.zeros((8, 8), np.uint8)
    classes[:4] = 1  # wall
    classes[4:6, :6] = 8  # bed
    classes[6, 6] = 13  # person
    instances = np.zeros((8, 8, 3), np.uint8)
    instances[4:6, :2, 0], instances[4:6, :2, 1] = 1, 1  # bed is the first thing
    instances[4:6, 2:5, 0], instances[4:6, 2:5, 1] = 1, 2
    instances[6, 6, 0], instances[6, 6, 1] = 4, 1  # bed, window, cabinet, person
    for folder in ("training", "validation"):
        stem = f"ADE_{'train' if folder == 'training' else 'val'}_00000017"
        save(root / "images" / folder / f"{stem}.jpg", np.full((8, 8, 3), 90, np.uint8))
        save(root / "annotations" / folder / f"{stem}.png", classes)
        save(root / "annotations_instance" / folder / f"{stem}.png", instances)
    return {"classes": classes, "instances": instances}


def pascal_context_tree(root: Path) -> None:
    """An image per set: aeroplane (2), building (44), sky (360), accordion (1: none of the 59), and nothing (0)."""
    voc = root / "VOCdevkit" / "VOC2010"
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (root / "trainval").mkdir()
    labels = np.zeros((8, 10), np.uint16)
    labels[:4], labels[4:6], labels[6, :5], labels[7] = 360, 44, 2, 1
    for name, stem in (("train", "2008_000002"), ("val", "2008_000009")):
        (voc / "ImageSets" / "Main" / f"{name}.txt").write_text(f"{stem}\n")
        save(voc / "JPEGImages" / f"{stem}.jpg", np.full((8, 10, 3), 120, np.uint8))
        savemat(root / "trainval" / f"{stem}.mat", {"LabelMap": labels}, do_compression=True)


def voc_2012_tree(root: Path) -> np.ndarray:
    """An image per set: background, a cat (8) with its outline (255), a sofa (18). Returns the class map."""
    voc = root / "VOCdevkit" / "VOC2012"
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    classes = np.zeros((8, 10), np.uint8)
    classes[2:6, 1:5], classes[3:5, 2:4], classes[6:, 6:] = 255, 8, 18
    for name, stem in (("train", "2007_000032"), ("val", "2007_000033")):
        (voc / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(f"{stem}\n")
        save(voc / "JPEGImages" / f"{stem}.jpg", np.full((8, 10, 3), 120, np.uint8))
        coloured = Image.fromarray(classes, "P")
        coloured.putpalette([k * 37 % 256 for k in range(768)])
        (voc / "SegmentationClass").mkdir(exist_ok=True)
        coloured.save(voc / "SegmentationClass" / f"{stem}.png")
    return classes


def coco_stuff_tree(root: Path) -> np.ndarray:
    """person (1), sky-other (157), wood (182) and unlabelled; a pixel is the class less one. Returns the class map."""
    classes = np.zeros((8, 10), np.int64)
    classes[:3], classes[3:5, :4], classes[5:, 4:] = 157, 1, 182
    for name, stem in (("train2017", "000000000009"), ("val2017", "000000000139")):
        save(root / name / f"{stem}.jpg", np.full((8, 10, 3), 120, np.uint8))
        save(root / "stuffthingmaps" / name / f"{stem}.png", np.where(classes, classes - 1, 255).astype(np.uint8))
    return classes


def bdd100k_tree(root: Path) -> None:
    """road (7), sky (30) in two parts, two cars (35), of which one is occluded, a crowd of persons (31), unlabelled."""
    pixels = np.zeros((8, 10, 4), np.uint8)
    pixels[:2] = 30, 0, 0, 30
    pixels[2, :2] = 30, 0, 0, 30
    pixels[4:] = 7, 0, 0, 7
    pixels[5:7, 1:4] = 35, 0b1100, 1, 3  # truncated and occluded, instance 259
    pixels[5:7, 5:7] = 35, 0, 0, 40
    pixels[7, 8:] = 31, 0b0010, 0, 41
    for name, stem in (("train", "0a0a0b1a-7c39d841"), ("val", "7d06fefd-f7be05a6")):
        save(root / "images" / "10k" / name / f"{stem}.jpg", np.full((8, 10, 3), 120, np.uint8))
        save(root / "labels" / "pan_seg" / "bitmasks" / name / f"{stem}.png", pixels)


def ade20k_2021_tree(root: Path, size: tuple[int, int] = (520, 780)) -> np.ndarray:
    """wall (2978 of the index), door (774), an object of no class (1) and nothing (0). Returns the objects' map."""
    objects = np.zeros(size, np.int64)
    objects[: size[0] // 2], objects[size[0] // 2 :, : size[1] // 3], objects[-9:, -9:] = 2978, 774, 1
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for name, stem in (("training", "ADE_train_00000007"), ("validation", "ADE_val_00000003")):
        scene = root / "images" / "ADE" / name / "urban" / "street"
        save(scene / f"{stem}.jpg", image)
        pixels = np.stack([objects // 256 * 10 + 3, objects % 256, np.full(size, 5)], axis=-1)  # blue: the instance
        save(scene / f"{stem}_seg.png", pixels.astype(np.uint8))
    return objects


def camvid_tree(root: Path, size: tuple[int, int] = (36, 48), images: int = 1) -> None:
    """Sets with bands of sky, road, car and void (11), and a bicyclist in one corner."""
    rng = np.random.default_rng(0)
    height, width = size
    classes = np.repeat(np.array([0, 3, 8, 11], np.uint8), height // 4)[:, None].repeat(width, axis=1)
    classes[: height // 12, : width // 12] = 10
    for name in ("train", "val", "test"):
        for number in range(images):
            stem = f"0001TP_{name}_{number:03d}"
            save(root / name / f"{stem}.jpg", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
            save(root / f"{name}annot" / f"{stem}.png", classes)


def panoptic_json(path: Path, pngs: Path, images: Path, vocabulary: str, stem: int | str) -> None:
    """One image with a segment of each of the first three classes, in COCO's panoptic format."""
    classes = Vocabulary.load(vocabulary)
    ids = np.kron(np.array([[0, 3226756], [6000, 77]]), np.ones((20, 30), np.int64))
    save(images / f"{stem}.jpg", np.full((*ids.shape, 3), 70, np.uint8))
    save(pngs / f"{stem}.png", ids_to_rgb(ids))
    labels = [SegmentLabel(value, classes.ids[k]) for k, value in enumerate((3226756, 6000, 77))]
    image_id = int(stem) if str(stem).isdigit() else stem
    content = {
        "images": [{"id": image_id, "file_name": f"{stem}.jpg", "height": 40, "width": 60}],
        "annotations": [{"image_id": image_id, "file_name": f"{stem}.png", "segments_info": describe(ids, labels)}],
        "categories": classes.categories(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco_tree(root: Path) -> None:
    """COCO panoptic 2017."""
    for name, stem in (("train2017", "000000000009"), ("val2017", "000000000139")):
        folder = root / "annotations" / f"panoptic_{name}"
        panoptic_json(folder.with_suffix(".json"), folder, root / name, "coco", stem)


def lvis_tree(root: Path) -> None:
    """LVIS v1 beside COCO's images: a cup (344) on a table (367), a second table below, a monitor (698) of two parts.

    The validation has an image of each of COCO's folders, the second without an instance.
    """
    shapes = [
        (367, [[0, 10, 60, 10, 60, 40, 0, 40]]),
        (344, [[20, 15, 30, 15, 30, 25, 20, 25]]),
        (367, [[40, 20, 44, 20, 44, 24, 40, 24]]),
        (698, [[0, 0, 10, 0, 10, 5, 0, 5], [50, 0, 60, 0, 60, 5, 50, 5]]),
    ]
    names = {344: "cup", 367: "dining_table", 698: "monitor_(computer_equipment) computer_monitor", 1203: "zucchini"}
    frequencies = {344: "f", 367: "c", 698: "f", 1203: "r"}
    categories = [{"id": i, "name": name, "frequency": frequencies[i], "synonyms": []} for i, name in names.items()]
    for split, files in (
        ("train", ["train2017/000000000009"]),
        ("val", ["val2017/000000000139", "train2017/000000000025"]),
    ):
        images, annotations = [], []
        for number, file in enumerate(files):
            save(root / f"{file}.jpg", np.full((40, 60, 3), 70, np.uint8))
            url, image_id = f"http://images.cocodataset.org/{file}.jpg", int(file.split("/")[1])
            lists = {"neg_category_ids": [1203], "not_exhaustive_category_ids": [698] if number == 0 else []}
            images.append({"id": image_id, "height": 40, "width": 60, "coco_url": url, **lists})
            for category, polygons in shapes if number == 0 else ():
                one = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
                annotations.append({**one, "segmentation": polygons})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"lvis_v1_{split}.json").write_text(json.dumps(content))


def mapillary_tree(root: Path) -> None:
    """Mapillary Vistas 1.2: PNGs next to the json."""
    for name, stem in (("training", "__CRyFzoDOXn6unQ6a3DnQ"), ("validation", "_1Gn_xkw7sa_i9GU4mkxxQ")):
        folder = root / name / "panoptic"
        panoptic_json(folder / "panoptic_2018.json", folder, root / name / "images", "mapillary_vistas", stem)


def imagenet_tree(root: Path, class_folders: bool) -> None:
    """ImageNet-Val's 50,000 file names, all links to one image."""
    save(root / "one.jpg", np.full((20, 30, 3), 60, np.uint8))
    folders = [root / "val" / f"n{k:08d}" for k in range(10)] if class_folders else [root / "val"]
    for folder in folders:
        folder.mkdir(parents=True)
    for k in range(1, 50_001):
        os.link(root / "one.jpg", folders[k % len(folders)] / f"ILSVRC2012_val_{k:08d}.JPEG")


def imagenet21k_tree(root: Path) -> None:
    """Two shards of timm's ImageNet-21K: images of two synsets, whose ids are in their names."""
    counts = {
        "imagenet_w21-train-0000.tar": ["n02084071_12", "n00015388_7"],
        "imagenet_w21-train-0001.tar": ["n02084071_3"],
    }
    for name, keys in counts.items():
        files = [(f"{key}.{e}", c) for key in keys for e, c in (("jpg", image_bytes(1, "JPEG")), ("cls", b"5"))]
        write_tar(root / name, files)
    write_info(root, [root / name for name in counts], [len(keys) for keys in counts.values()])
