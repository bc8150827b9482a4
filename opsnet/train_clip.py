"""``python -m opsnet.train_clip``: ``opsnet-train-clip``."""

from opsnet.commands.train_clip import main

if __name__ == "__main__":
    main()
