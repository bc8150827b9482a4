"""Feeds mutated inputs to every reader of user files and checks what a user would see: ``make fuzz``."""
