"""Training: the LightningModule, optimizer and schedule, resumption of runs, and callbacks."""
