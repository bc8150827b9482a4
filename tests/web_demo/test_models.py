"""Models are loaded when they are first used, one at a time."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from opsnet.utils.errors import InputError
from opsnet.web_demo.models import Models


class Network:
    """Stands for a predictor."""


@pytest.fixture
def loaded() -> list[weakref.ref]:
    """A weak reference to every network that was loaded."""
    return []


@pytest.fixture
def models(loaded) -> Models:
    def load() -> Network:
        network = Network()
        loaded.append(weakref.ref(network))
        return network

    def fail() -> Network:
        raise InputError("b.pth is damaged")

    return Models({"a": load, "b": load, "broken": fail})


def test_a_model_is_loaded_once_and_when_it_is_used(models, loaded) -> None:
    assert models.names == ("a", "b", "broken")
    assert loaded == []
    for _ in range(2):
        with models.using("a") as network:
            assert network is loaded[0]()
    assert len(loaded) == 1


def test_only_one_is_in_memory(models, loaded) -> None:
    with models.using("a"):
        pass
    with models.using("b") as network:
        gc.collect()
        assert loaded[0]() is None
        assert network is loaded[1]()


def test_another_model_waits_until_this_one_is_free(models, loaded) -> None:
    with models.using("a"):
        other = threading.Thread(target=lambda: models.using("b").__enter__())
        other.start()
        other.join(0.2)
        assert other.is_alive() and len(loaded) == 1
        with models.using("a"):  # the same model does not
            pass
    other.join(10)
    assert len(loaded) == 2


def test_a_model_that_cannot_be_loaded_says_why_and_blocks_no_other(models) -> None:
    for name, message in (("broken", "b.pth is damaged"), ("c", "there is no model 'c': choose one of a, b, broken")):
        with pytest.raises(InputError, match=message), models.using(name):
            pass
    with models.using("a") as network:
        assert isinstance(network, Network)


def test_a_model_that_does_not_become_free_is_a_sentence(loaded) -> None:
    models = Models({"a": Network, "b": Network}, patience=0.05)
    with models.using("a"), pytest.raises(InputError, match="others are using another model than 'b'"):
        models.using("b").__enter__()
    with models.using("b"):
        pass
    for name in (None, ["a"], 5, "c"):
        with pytest.raises(InputError, match="there is no model"):
            models.using(name).__enter__()
