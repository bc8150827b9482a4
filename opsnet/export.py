"""``python -m opsnet.export``: ``opsnet-export``."""

from opsnet.commands.export import main

if __name__ == "__main__":
    main()
