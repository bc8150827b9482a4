"""Losses, one per file, and what they share: Hungarian matching, sampled points, and the context of a training step.

The yaml names the class of each loss in full, so adding one requires no change here (:mod:`opsnet.losses.base`).
"""
