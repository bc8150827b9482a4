"""From named proposals to one panoptic map: Mask Filtering and the merge."""
