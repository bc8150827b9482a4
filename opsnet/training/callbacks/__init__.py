"""What surrounds a training run: repeatable randomness, checkpoints, pictures and figures for its loggers, probes."""

from opsnet.training.callbacks.log_pictures import LogPictures
from opsnet.training.callbacks.probes import probe_callbacks
from opsnet.training.callbacks.progress_lines import ProgressLines
from opsnet.training.callbacks.record import RecordRun
from opsnet.training.callbacks.repeatable import InterruptCheckpoint, SeedEveryStep

__all__ = ["InterruptCheckpoint", "LogPictures", "ProgressLines", "RecordRun", "SeedEveryStep", "probe_callbacks"]
