"""``python -m opsnet.prepare``: ``opsnet-prepare``."""

from opsnet.commands.prepare import main

if __name__ == "__main__":
    main()
