"""The console commands, one file each; their implementations are in other packages and callable without Hydra.

Nothing here imports PyTorch before a task runs, so that ``--help`` and mistyped keys respond at once.
"""
