"""``python -m opsnet.demo``: ``opsnet-demo``."""

from opsnet.commands.demo import main

if __name__ == "__main__":
    main()
