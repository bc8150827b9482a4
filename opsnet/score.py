"""``python -m opsnet.score``: ``opsnet-score``."""

from opsnet.commands.score import main

if __name__ == "__main__":
    main()
