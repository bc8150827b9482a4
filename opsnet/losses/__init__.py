"""Training targets: Hungarian matching, and the losses on names, masks and predicted IoU."""
