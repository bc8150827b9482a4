"""Data sets as distributed, and images and labels of one's own, into COCO's panoptic format; WordNet's files.

A module per ``opsnet-prepare NAME``: ``add_arguments`` describes its command line, and ``prepare`` (of ``own``, one
function per kind of labels) does the work, from Python too.
"""
