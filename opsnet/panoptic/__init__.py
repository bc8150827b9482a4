"""From classified proposals to a panoptic map: Mask Filtering and the merge."""
