"""The content of checkpoints and saved folders, reading them, and building the network that they describe."""
