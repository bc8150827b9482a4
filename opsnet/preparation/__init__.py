"""Converts datasets as distributed, and your own images and labels, to COCO's panoptic format; installs WordNet.

One module per ``opsnet-prepare NAME``: ``add_arguments`` defines its command line, and ``prepare`` (for ``own``, one
function per kind of labels) does the work and can be called from Python too. Datasets that need no conversion are rows
of :mod:`opsnet.preparation.as_distributed`.

``own``: each format of shapes (``own_coco``, ``own_cvat``, ``own_label_studio``, ``own_labelme``, ``own_yolo``) is a
function that reads the labelled shapes of one image; ``own_shapes`` and ``own_regions`` check and paint them,
``own_destination`` writes the set. ``own_masks`` and ``own_voc`` read maps.
"""
