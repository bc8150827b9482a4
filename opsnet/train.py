"""``python -m opsnet.train``: ``opsnet-train``."""

from opsnet.training.run import main

if __name__ == "__main__":
    main()
