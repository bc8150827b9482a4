"""``python -m opsnet.predict``: ``opsnet-predict``."""

from opsnet.commands.predict import main

if __name__ == "__main__":
    main()
