"""Training: the LightningModule, optimizer and schedule, what resumes a run, and the callbacks around it."""
