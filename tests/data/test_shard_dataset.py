"""Images of shards: which, with which labels, in which order, on any number of processes, and stopped in between."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from documented import ROOT, blocks
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import EpsImagePlugin, Image
from shard_writing import image_bytes, write_info, write_shards, write_tar

from opsnet.data import findings as kinds
from opsnet.data.batching import collate
from opsnet.data.findings import Finding
from opsnet.data.image_label_dataset import LabelledImages
from opsnet.data.inspectors import inspector_of
from opsnet.data.loaders import CyclingLoader
from opsnet.data.samplers import EndlessSampler
from opsnet.data.shard_dataset import ShardDataset
from opsnet.data.transforms import TrainTransform
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Concept, Vocabulary

PETS = Vocabulary.from_names(["cat", "dog", "grass"], "pets")
COUNTS = (5, 0, 11, 1, 6)  # fewer shards than ranks x workers, one of them empty


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pets")
    write_info(root, write_shards(root, COUNTS), COUNTS)
    return root


def pets(shards: Path | list[Path], **options: object) -> ShardDataset:
    return ShardDataset(shards=shards, **{"vocabulary": PETS, **options})


def test_it_has_the_samples_that_webdataset_has(folder: Path) -> None:
    ours = pets(folder)
    theirs = webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False).decode("rgb8")
    for number, sample in enumerate(theirs):
        found = ours[number]
        assert found.image_id == sample["__key__"]
        assert np.array_equal(found.image.permute(1, 2, 0).numpy(), sample["png"])
        assert found.labels.tolist() == ours.labels_of(number) == [sample["cls"]]
        assert ours.name_of(number).startswith(f"{found.image_id} in {folder}/train-000")
    assert len(ours) == number + 1 == 23
    assert isinstance(ours, LabelledImages)
    assert (ours.unlabelled, ours.unknown, ours.faults) == (0, 0, ())


@pytest.mark.parametrize("label", ["json.label", "json.names"])
def test_labels_of_the_json_are_those_of_the_cls(folder: Path, label: str) -> None:
    ours, theirs = pets(folder, label=label), pets(folder)
    assert [ours.labels_of(i) for i in range(23)] == [theirs.labels_of(i) for i in range(23)]


def labelled(path: Path, values: Iterable[str]) -> Path:
    """A shard of samples with these texts as ``"label"`` of their json."""
    files = [
        (f"{key}.{kind}", content)
        for key, value in enumerate(values)
        for kind, content in (("png", image_bytes(key)), ("json", f'{{"label": {value}}}'.encode()))
    ]
    return write_tar(path, files)


def test_lists_names_and_images_without_a_label(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.tar", ["[2, 0, 2]", "null", "-1", "[]", '["Dog", 0]', '"grass"'])
    found = pets(path, label="json.label")
    assert [found.labels_of(i) for i in range(len(found))] == [[0, 2], [0, 1], [2]]
    assert [found[i].image_id for i in range(3)] == ["0", "4", "5"]
    assert found.unlabelled == 3
    assert len(pets(path, label="json.label", limit=5)) == 2
    with pytest.raises(DatasetError, match="no image of .* has a label"):
        pets(labelled(tmp_path / "b.tar", ["null"]), label="json.label")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "has label 3, but vocabulary 'pets' numbers its names 0 to 2: set `vocabulary` or `label`"),
        ('"bird"', "has label 'bird', which is the name of no entry of vocabulary 'pets'"),
        ('"n02084071"', "has label 'n02084071', which is the WordNet id of no entry"),
    ],
)
def test_a_label_that_the_vocabulary_lacks_is_named_or_left_out(tmp_path: Path, value: str, message: str) -> None:
    path = labelled(tmp_path / "a.tar", ["0", value, f"[1, {value}]"])
    with pytest.raises(DatasetError, match=r"sample 1 in .*a\.tar") as caught:
        pets(path, label="json.label")
    assert message in str(caught.value)
    found = pets(path, label="json.label", skip_unknown=True)
    assert (len(found), found.unknown) == (1, 2)


def test_a_name_of_several_entries_is_ambiguous(tmp_path: Path) -> None:
    cranes = Vocabulary("cranes", (Concept(3, "crane", True), Concept(9, "crane", True)))
    with pytest.raises(DatasetError, match="'crane', the name of several entries"):
        pets(labelled(tmp_path / "a.tar", ['"crane"']), label="json.label", vocabulary=cranes)


def with_synsets(folder: Path, synsets: list[int]) -> tuple[Path, Path]:
    """Shards with an image of each synset, whose WordNet id is in the key, and in the json; every .cls says 1."""
    keys = [f"n{offset:08d}" for offset in synsets]
    files = [(f"x/{key}_{i}.{e}", c) for i, key in enumerate(keys) for e, c in (("png", image_bytes(i)), ("cls", b"1"))]
    by_field = labelled(folder / "field.tar", [f'"{key}"' for key in keys])
    return write_tar(folder / "key.tar", files), by_field


def test_wordnet_ids_are_found_in_keys_and_fields(tmp_path: Path) -> None:
    animals = Vocabulary("wordnet:animal.n.01", (Concept(15388, "animal", True), Concept(2084071, "dog", True)))
    by_key, by_field = with_synsets(tmp_path, [2084071, 15388])
    for found in (
        pets(by_key, label="key", vocabulary=animals),
        pets(by_field, label="json.label", vocabulary=animals),
    ):
        assert [found.labels_of(k) for k in range(2)] == [[1], [0]]
    assert [pets(by_key, vocabulary=animals).labels_of(k) for k in range(2)] == [[1], [1]]


@pytest.mark.slow
def test_wordnet_ids_of_imagenet_21k_are_found(tmp_path: Path) -> None:
    vocabulary = Vocabulary.load("imagenet21k")
    chosen = [*range(0, 21_843, 7), 21_842]
    by_key, by_field = with_synsets(tmp_path, [vocabulary.ids[i] for i in chosen])
    for found in (ShardDataset(shards=by_key, label="key"), ShardDataset(shards=by_field, label="json.label")):
        assert found.vocabulary == vocabulary
        assert [found.labels_of(k) for k in range(len(found))] == [[i] for i in chosen]


def test_a_shard_with_other_numbers_than_its_info_is_named(tmp_path: Path) -> None:
    write_info(tmp_path, write_shards(tmp_path, [2, 3]), [2, 4])
    with pytest.raises(DatasetError, match=r"train-0001.tar has 3 samples, 4 by its _info.json: download it again"):
        pets(tmp_path)
    assert len(pets(sorted(tmp_path.glob("*.tar")))) == 5


def test_unusable_samples_are_counted_against_the_limit(tmp_path: Path) -> None:
    files = [("a.png", image_bytes(1)), ("b.png", image_bytes(2)), ("b.cls", b"1"), ("c.cls", b"1")]
    path = write_tar(tmp_path / "a.tar", files)
    with pytest.raises(DatasetError, match=rf"sample a has no .cls in {path} \(2 damaged, 1 allowed\): repair"):
        pets(path, max_damaged=1)
    found = pets(path, max_damaged=2)
    assert (len(found), len(found.faults), found[0].image_id) == (1, 2, "b")


def broken(path: Path, bad: Iterable[int], count: int = 6) -> Path:
    """A shard in which some of the images cannot be decoded."""
    files = [
        (f"{k}.{e}", c)
        for k in range(count)
        for e, c in (("png", image_bytes(k)[: 40 if k in bad else None]), ("cls", b"%d" % (k % 3)))
    ]
    return write_tar(path, files)


def test_an_image_that_cannot_be_decoded_is_named_or_replaced_by_the_next(tmp_path: Path, caplog) -> None:
    path = broken(tmp_path / "a.tar", [2, 3, 5])
    with pytest.raises(
        DatasetError, match=rf"sample 2 in {path} cannot be read as an image .*\(1 damaged, 0 allowed\)"
    ):
        pets(path)[2]
    found = pets(path, max_damaged=3)
    for _ in range(2):
        assert [found[i].image_id for i in range(6)] == ["0", "1", "4", "4", "4", "0"]
        assert [found[i].labels.tolist() for i in (2, 5)] == [[1], [0]]  # those of the image that is shown
    assert caplog.text.count("the next image takes its place") == 3
    less = pets(path, max_damaged=1)
    with pytest.raises(DatasetError, match=r"\(2 damaged, 1 allowed\)"):
        less[2]
    with pytest.raises(DatasetError, match="no image of .* can be read"):
        pets(broken(tmp_path / "b.tar", range(3), 3), max_damaged=9)[0]


def test_only_formats_that_start_no_program_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *given: started.append(given) or Image.new("RGB", (4, 4)).im
    )
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "EPS")
    path = write_tar(tmp_path / "a.tar", [("a.jpg", stream.getvalue()), ("a.cls", b"0")])
    with pytest.raises(DatasetError, match="its format is unknown"):
        pets(path)[0]
    assert started == []
    Image.open(io.BytesIO(stream.getvalue())).load()
    assert len(started) == 1  # Pillow would have


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bomb = bytearray(image_bytes(0))
    bomb[16:24] = (20_000).to_bytes(4, "big") * 2
    path = write_tar(tmp_path / "a.tar", [("a.png", bytes(bomb)), ("a.cls", b"0")])
    with pytest.raises(DatasetError, match="178 million pixels|cannot be read as an image"):
        pets(path)[0]


def test_a_shard_that_changed_during_a_run_is_named(tmp_path: Path) -> None:
    (path,) = write_shards(tmp_path, [4])
    found = pets(path)
    broken(path, [], 4)
    with pytest.raises(DatasetError, match=rf"shard {path} changed after it was indexed"):
        found[3]
    path.unlink()
    with pytest.raises(DatasetError, match=rf"shard {path} changed after it was indexed, or cannot be read"):
        found[0]


def test_the_example_of_the_docs(folder: Path, tmp_path: Path) -> None:
    (block,) = (text for text in blocks(ROOT / "docs" / "datasets.md", "yaml") if "ShardDataset" in text)
    (tmp_path / "names.txt").write_text("cat\ndog\ngrass\n")
    for forms in re.findall(r"/data/\S+?(?=[ ,;])", block):
        here = forms.replace("/data/pets-{0000..0063}", f"{folder}/train-{{0000..0004}}").replace(
            "/data/pets", str(folder)
        )
        text = block.replace("shards: /data/pets", f"shards: {here.replace('/data/', f'{folder}/')}")
        cfg = OmegaConf.create(text.replace("names.txt", str(tmp_path / "names.txt")))
        cfg.paths = {"cache": str(tmp_path / "cache")}
        assert len(instantiate(cfg.labels)()) == 23
    assert len(list((tmp_path / "cache" / "shards").glob("*.safetensors"))) == len(COUNTS)


# --- Order -----------------------------------------------------------------------------------------------------------


def order(found: ShardDataset, seed: int) -> list[int]:
    return found.shuffled(torch.Generator().manual_seed(seed)).tolist()


def test_windows_shuffle_near_images_and_shards(folder: Path) -> None:
    found = pets(folder, window=4)
    first = order(found, 0)
    assert sorted(first) == list(range(23))
    assert first == order(found, 0) != order(found, 1)
    ends = np.cumsum(COUNTS)
    for seed in range(20):
        shards = [
            [int(np.searchsorted(ends, i, side="right")) for i in order(found, seed)[k : k + 4]]
            for k in range(0, 23, 4)
        ]
        visited = list(dict.fromkeys(s for part in shards for s in part))
        assert all(len(set(part)) <= 3 for part in shards)
        # A shard is read in one go: its images lie in windows that follow one another.
        for shard in visited:
            places = [k for k, part in enumerate(shards) if shard in part]
            assert places == list(range(places[0], places[-1] + 1))
    starts = {order(found, seed)[0] for seed in range(60)}
    assert len({int(np.searchsorted(ends, i, side="right")) for i in starts}) == 4  # every shard may be the first


def test_without_a_window_the_order_is_that_of_any_set(folder: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    assert order(pets(folder, window=None), 5) == torch.randperm(23, generator=generator).tolist()
    with pytest.raises(DatasetError, match="window must be at least 1 image or null for all, got 0"):
        pets(folder, window=0)


# --- Ranks and workers -----------------------------------------------------------------------------------------------

TRANSFORM = TrainTransform(size=8, scale=(1.0, 1.5), canvas=False)


def steps(
    found: ShardDataset, batch: int, *, ranks: int, workers: int, start: int, stop: int
) -> list[list[tuple[str, float]]]:
    """Per step the key and a sum of the pixels of each image, over all ranks."""
    shares = []
    for rank in range(ranks):
        sampler = EndlessSampler(
            len(found), batch_size=batch, seed=3, rank=rank, world_size=ranks, order=found.shuffled
        )
        loader = CyclingLoader(
            found, sampler, collate_fn=partial(collate, vocabulary="pets", size_divisor=8), num_workers=workers,
            steps=stop, progress=lambda: (start, stop - start),
        )  # fmt: skip
        shares.append([_described(batch) for batch in loader])
    return [[image for share in parts for image in share] for parts in zip(*shares, strict=True)]


def _described(batch) -> list[tuple[str, float]]:
    places = torch.arange(batch.images[0].numel()).view_as(batch.images[0])
    return list(zip(batch.image_ids, (batch.images * places).flatten(1).sum(1).tolist(), strict=True))


def keys(found: list[list[tuple[str, float]]]) -> list[str]:
    return [key for step in found for key, _ in step]


def require_exact_epochs(seen: list[str], size: int) -> None:
    """Every sample exactly once in each complete epoch, and at most once in the last."""
    for start in range(0, len(seen), size):
        epoch = Counter(seen[start : start + size])
        assert set(epoch.values()) == {1}
        assert len(epoch) == min(size, len(seen) - start)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_sample_once_per_epoch_on_any_number_of_ranks(folder: Path, ranks: int) -> None:
    found = pets(folder, window=4)
    total = {1: 4, 2: 4, 3: 6}[ranks]
    count = 3 * 23 // total + 1
    seen = steps(found, total // ranks, ranks=ranks, workers=0, start=0, stop=count)
    assert [len(step) for step in seen] == [total] * count  # as many on every rank, in every step
    alone = steps(found, total, ranks=1, workers=0, start=0, stop=count)
    assert [set(step) for step in seen] == [set(step) for step in alone]  # whatever the ranks; augmented alike
    require_exact_epochs(keys(alone), 23)
    assert keys(alone)[:23] != keys(alone)[23:46]


def test_workers_change_nothing_and_a_stopped_run_sees_the_rest(folder: Path) -> None:
    found = pets(folder, window=4)
    whole = steps(found, 2, ranks=2, workers=0, start=0, stop=9)
    assert steps(found, 2, ranks=2, workers=2, start=0, stop=3) + steps(
        found, 2, ranks=2, workers=2, start=3, stop=9
    ) == whole  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_times_workers(folder: Path, ranks: int, workers: int) -> None:
    found = pets(folder, window=4)
    whole = steps(found, 2, ranks=ranks, workers=0, start=0, stop=14)
    assert steps(found, 2, ranks=ranks, workers=workers, start=0, stop=14) == whole
    alone = [key for step in steps(found, 2 * ranks, ranks=1, workers=0, start=0, stop=14) for key, _ in step]
    require_exact_epochs(alone, 23)
    for stop in (1, 5, 11, 12, 13):  # also where a step has images of two epochs
        rest = steps(found, 2, ranks=ranks, workers=workers, start=stop, stop=14)
        assert rest == whole[stop:]


# --- The doctor ------------------------------------------------------------------------------------------------------


def test_the_inspection_finds_what_is_damaged(tmp_path: Path) -> None:
    files = [("z.png", image_bytes(1)), ("y.cls", b"1")]
    paths = [broken(tmp_path / "a.tar", [1]), write_tar(tmp_path / "b.tar", files)]
    inspector = inspector_of(
        partial(ShardDataset, shards=[str(p) for p in paths], vocabulary=PETS, transform=TRANSFORM)
    )
    assert inspector is not None and hash(inspector) is not None
    found: list[Finding] = []
    result = inspector.inspect(found.append)
    assert [(f.kind, f.where) for f in found] == [
        (kinds.DAMAGED_SAMPLE, "z"), (kinds.DAMAGED_SAMPLE, "y"), (kinds.UNREADABLE_IMAGE, f"1 in {paths[0]}"),
    ]  # fmt: skip
    assert (result.images, result.annotations, result.labels) == (8, 6, 6)
    assert dict(result.images_per_class) == {0: 2, 1: 2, 2: 2}
    assert inspector.inspect(found.append, limit=3).images == 3
    with pytest.raises(DatasetError, match="has no `shards`"):
        inspector_of(partial(ShardDataset))


def test_the_inspection_reports_what_is_left_out(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.tar", ["0", "null", "7", "[1, 2]"])
    keywords = {"shards": path, "vocabulary": PETS, "label": "json.label"}
    found: list[Finding] = []
    result = inspector_of(partial(ShardDataset, **keywords, skip_unknown=True)).inspect(found.append)
    assert [(f.kind, f.message) for f in found] == [
        (kinds.UNKNOWN_LABELS, "1 of its images"), (kinds.UNLABELLED, "1 of its images"),
    ]  # fmt: skip
    assert (result.images, result.annotations, result.labels) == (4, 2, 3)
    (finding,) = list(islice(_inspected(keywords), 2))
    assert finding.kind == kinds.UNFIT_LABELS and "sample 2 in" in finding.message


def _inspected(keywords: dict[str, object]) -> list[Finding]:
    found: list[Finding] = []
    inspector_of(partial(ShardDataset, **keywords)).inspect(found.append)
    return found
