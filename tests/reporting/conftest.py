"""The hand-made run, for tests of what reads it."""

from miniature_runs import main as main
