"""``python -m opsnet.export``: ``opsnet-export``."""

from opsnet.export.run import main

if __name__ == "__main__":
    main()
