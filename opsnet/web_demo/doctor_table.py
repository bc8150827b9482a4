"""The vocabulary doctor's report on the entered class names, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from opsnet.recognition.vocabulary_fit import VocabularyFit
from opsnet.web_demo.figure import cell, table

SHOWN = 200  # rows


def doctor_table(fit: VocabularyFit, train_name: str, cut: Sequence[str], *, modulated: bool = True) -> str:
    """Comparison with the training names: s, alpha (1 - s), look-alikes, truncated names, and one row per name.

    Args:
        fit: the comparison.
        train_name: name of the training vocabulary.
        cut: names that CLIP truncates.
        modulated: whether the recognizer is an Embedding Modulation; others use neither alpha (1 - s) nor the factors.
    """
    weight = (
        f", so CLIP embeddings have <b>α (1 − s) = {fit.strength:.2f}</b> times the weight of query embeddings"
        if modulated
        else ""
    )
    lines = [
        f'<p class="lead">The domain similarity to the training vocabulary (<b>{escape(train_name)}</b>) is '
        f"<b>s = {fit.similarity:.3f}</b>{weight}.</p>"
    ]
    if fit.look_alikes:
        pairs = "; ".join(f"{escape(a)} and {escape(b)} ({c:.3f})" for a, b, c in fit.look_alikes[:10])
        lines.append(f'<p class="warn">CLIP can hardly distinguish these: {pairs}</p>')
    if cut:
        lines.append(f'<p class="warn">CLIP truncates: {escape(", ".join(cut[:10]))}</p>')
    columns = ("name", "nearest training name", "cosine", *(("debias factor",) if modulated else ()))
    rows = []
    for c in sorted(fit.concepts, key=lambda c: c.cosine)[:SHOWN]:
        meter = (
            f'<meter min="0" max="1" value="{c.cosine:.3f}" aria-label="cosine {c.cosine:.3f}"></meter> {c.cosine:.3f}'
        )
        cells = (escape(c.name), escape(c.nearest), meter, *((f"{c.factor:.3f}",) if modulated else ()))
        rows.append("".join(map(cell, columns, cells)))
    return "".join(lines) + table(columns, rows, "")
