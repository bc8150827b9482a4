"""``python -m opsnet.train_clip``: ``opsnet-train-clip``."""

from opsnet.training.clip import main

if __name__ == "__main__":
    main()
