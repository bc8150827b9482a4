"""``python -m opsnet.train``: ``opsnet-train``."""

from opsnet.commands.train import main

if __name__ == "__main__":
    main()
