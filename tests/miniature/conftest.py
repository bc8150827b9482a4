"""The hand-made run, for tests of its report."""

from miniature_runs import baseline as baseline
from miniature_runs import change as change
from miniature_runs import made as made
from miniature_runs import main as main
from miniature_runs import write_run as write_run
