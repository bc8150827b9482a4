"""``opsnet-doctor``: inspects data and vocabularies, and rehearses trainings.

A rehearsal (``opsnet-doctor experiment=opsnet_r50 ...``) builds the run that a command line describes and takes a few
steps. Checks that need no step come first; then Lightning's Trainer takes optimizer steps, validates one batch and
writes its checkpoints, all as configured, in a temporary folder. What would stop the training stops the rehearsal.
"""
