"""What child processes get on their ``PYTHONPATH``."""
