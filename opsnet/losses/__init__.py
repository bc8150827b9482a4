"""Losses, one per file, and what they share: Hungarian matching, sampled points, and the context of a training step.

A loss is a class with a full name in yaml, so that adding one changes nothing here (:mod:`opsnet.losses.base`).
"""
