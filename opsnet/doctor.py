"""``opsnet-doctor``: what a vocabulary will do, said before a run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.files import atomic_path
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.vocabulary import Vocabulary

SHOWN = 25  # rows of a table in the terminal


def examine(cfg: DictConfig) -> VocabularyFit:
    """Compares a vocabulary with the training's; prints tables, writes all rows as CSV and Figure 4 as PNG.

    Args:
        cfg: conf/doctor.yaml.

    Raises:
        VocabularyError: a vocabulary cannot be read.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    from hydra.utils import instantiate

    from opsnet.reporting.similarity_plot import similarity_histogram

    target, train = Vocabulary.load(cfg.vocabulary), Vocabulary.load(cfg.train)
    encoder = instantiate(cfg.clip).text_encoder
    modulation = EmbeddingModulation(alpha=cfg.alpha, beta=cfg.beta)
    fit = vocabulary_fit(encoder(target), encoder(train), modulation, alike=cfg.alike)
    out = Path(cfg.output)
    _write(fit, out / "vocabulary.csv")
    similarity_histogram([c.cosine for c in fit.concepts], target.name, train.name, out / "similarity.png")
    _print(fit, target, train, encoder.cut_names(target), out)
    return fit


def _write(fit: VocabularyFit, out: Path) -> None:
    with atomic_path(out) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("name", "nearest training name", "cosine", "debias factor"))
        rows.writerows((c.name, c.nearest, f"{c.cosine:.4f}", f"{c.factor:.4f}") for c in fit.concepts)


def _print(fit: VocabularyFit, target: Vocabulary, train: Vocabulary, cut: list[str], out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(
        f"[bold]{escape(target.name)}[/bold] ({len(target)} concepts) beside {escape(train.name)} ({len(train)}): "
        f"s = {fit.similarity:.3f}, alpha (1 - s) = {fit.strength:.2f}"
    )
    farthest = sorted(fit.concepts, key=lambda c: c.cosine)
    table = _table(f"Farthest from the training ({min(SHOWN, len(farthest))} of {len(farthest)})", "name")
    for column in ("nearest training name", "cosine", "debias factor"):
        table.add_column(column, justify="left" if column.startswith("nearest") else "right")
    for c in farthest[:SHOWN]:
        table.add_row(escape(c.name), escape(c.nearest), f"{c.cosine:.3f}", f"{c.factor:.3f}")
    console.print(table)
    if fit.look_alikes:
        table = _table(
            f"Look-alikes ({len(fit.look_alikes)} pairs): CLIP hardly tells them apart", "name", "name", "cosine"
        )
        for a, b, cosine in fit.look_alikes[:SHOWN]:
            table.add_row(escape(a), escape(b), f"{cosine:.3f}")
        console.print(table)
    for name in cut[:SHOWN]:
        console.print(f"[yellow]CLIP reads only the beginning of[/yellow] '{escape(name)}': shorten it")
    if len(cut) > SHOWN:
        console.print(f"... and of {len(cut) - SHOWN} more names")
    console.print(
        f"All concepts are in {out / 'vocabulary.csv'}, a histogram in {out / 'similarity.png'}", soft_wrap=True
    )


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    return Table(*columns, title=title, title_justify="left")


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    examine(cfg)


def main() -> None:
    """Console entry point."""
    import sys

    import hydra

    from opsnet.configuration import config_dir, quoted
    from opsnet.errors import one_sentence_errors

    sys.argv[1:] = [quoted(argument, "vocabulary", "train") for argument in sys.argv[1:]]
    with one_sentence_errors():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="doctor")(run)()


if __name__ == "__main__":
    main()
