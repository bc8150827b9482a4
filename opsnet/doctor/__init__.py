"""A training, rehearsed: the run that a command line describes is built, taken two steps far, and judged.

``opsnet-doctor experiment=opsnet_r50 ...`` does it. The checks that need no step come first; then Lightning's own
Trainer takes optimiser steps, validates one batch and writes its checkpoints, all as configured and in a folder that is
removed again. What stops the training stops the rehearsal.
"""
