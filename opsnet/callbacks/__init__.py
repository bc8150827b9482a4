"""What surrounds a training run: repeatable randomness, checkpoints, pictures and figures for its loggers, probes."""

from opsnet.callbacks.log_pictures import LogPictures
from opsnet.callbacks.probes import probe_callbacks
from opsnet.callbacks.progress_lines import ProgressLines
from opsnet.callbacks.record import RecordRun
from opsnet.callbacks.repeatable import InterruptCheckpoint, SeedEveryStep

__all__ = ["InterruptCheckpoint", "LogPictures", "ProgressLines", "RecordRun", "SeedEveryStep", "probe_callbacks"]
