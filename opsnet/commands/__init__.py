"""The console commands, a file each: what a command does lives in its package and is callable without Hydra.

Nothing here imports PyTorch before a task runs: ``--help`` and a mistyped key are answered at once.
"""
