"""Callbacks of a training: reproducible randomness, checkpoints, logged images and metrics, probes."""

from opsnet.training.callbacks.keep_options import KeepOptions
from opsnet.training.callbacks.log_images import LogImages
from opsnet.training.callbacks.nonfinite import NonFiniteGradients
from opsnet.training.callbacks.probes import probe_callbacks
from opsnet.training.callbacks.progress_lines import ProgressLines
from opsnet.training.callbacks.record import RecordRun
from opsnet.training.callbacks.repeatable import InterruptCheckpoint, SeedEveryStep
from opsnet.training.callbacks.stop_signals import StopOnSignal

__all__ = [
    "InterruptCheckpoint",
    "KeepOptions",
    "LogImages",
    "NonFiniteGradients",
    "ProgressLines",
    "RecordRun",
    "SeedEveryStep",
    "StopOnSignal",
    "probe_callbacks",
]
