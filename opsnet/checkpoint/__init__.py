"""What a checkpoint or a saved folder holds, reading one, and building the network that it describes."""
