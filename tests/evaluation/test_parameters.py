"""Numbers of parameters, counted by their names."""

from __future__ import annotations

from published_files import small_network
from torch import nn

from opsnet.evaluation.parameters import count_parameters


def test_parameters_are_counted_once_and_without_what_names_alone_need() -> None:
    network, recognizer = small_network("convnext"), nn.Linear(3, 4)
    sizes = {name: p.numel() for name, p in network.named_parameters()}  # of a shared one the first name
    text, clip = (
        sum(size for name, size in sizes.items() if name.startswith(start)) for start in ("clip.text_encoder.", "clip.")
    )
    every = sum(sizes.values())
    found = count_parameters(network, recognizer)
    assert 0 < text < clip < every
    assert found["total"] == every - text + 16
    assert found["text_encoder"] == text
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert found["trainable"] == trained + 16 < found["total"]
    recognizer.requires_grad_(False)
    assert count_parameters(network, recognizer)["trainable"] == trained
