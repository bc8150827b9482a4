"""``python -m opsnet.evaluate``: ``opsnet-evaluate``."""

from opsnet.evaluation.run import main

if __name__ == "__main__":
    main()
