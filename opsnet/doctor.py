"""``python -m opsnet.doctor``: ``opsnet-doctor``."""

from opsnet.commands.doctor import main

if __name__ == "__main__":
    main()
