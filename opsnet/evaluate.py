"""``python -m opsnet.evaluate``: ``opsnet-evaluate``."""

from opsnet.commands.evaluate import main

if __name__ == "__main__":
    main()
