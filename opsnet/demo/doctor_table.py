"""What the vocabulary doctor says of the words in the box, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from opsnet.demo.figure import table
from opsnet.recognition.vocabulary_fit import VocabularyFit

SHOWN = 200  # rows


def doctor_table(fit: VocabularyFit, train_name: str, cut: Sequence[str]) -> str:
    """The fit of the words to the training: s, alpha (1 - s), look-alikes, cut names, and a row a word.

    Args:
        fit: of the words.
        train_name: of the training's vocabulary.
        cut: names of which CLIP reads only the beginning.
    """
    lines = [
        f'<p class="lead">To the training (<b>{escape(train_name)}</b>) the words have a domain similarity '
        f"<b>s = {fit.similarity:.3f}</b>, so CLIP's embedding counts <b>α (1 − s) = {fit.strength:.2f}</b> times the "
        "query's.</p>"
    ]
    if fit.look_alikes:
        pairs = "; ".join(f"{escape(a)} and {escape(b)} ({c:.3f})" for a, b, c in fit.look_alikes[:10])
        lines.append(f'<p class="warn">CLIP hardly tells these apart: {pairs}</p>')
    if cut:
        lines.append(f'<p class="warn">CLIP reads only the beginning of: {escape(", ".join(cut[:10]))}</p>')
    rows = [
        f"<tr><td>{escape(c.name)}</td><td>{escape(c.nearest)}</td>"
        f'<td><meter min="0" max="1" value="{c.cosine:.3f}"></meter> {c.cosine:.3f}</td><td>{c.factor:.3f}</td></tr>'
        for c in sorted(fit.concepts, key=lambda c: c.cosine)[:SHOWN]
    ]
    return "".join(lines) + table(("word", "nearest training name", "cosine", "debias factor"), rows, "")
