"""Converts datasets as distributed, and your own images and labels, to COCO's panoptic format; installs WordNet.

One module per ``opsnet-prepare NAME``: ``add_arguments`` defines its command line, and ``prepare`` (for ``own``, one
function per kind of labels) does the work and can be called from Python too.
"""
