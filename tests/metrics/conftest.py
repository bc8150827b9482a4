"""The hand-made run, for tests of what reads it."""

from miniature_runs import baseline as baseline
from miniature_runs import main as main
from miniature_runs import write_run as write_run
