"""The matrix of faults and commands: ``make faults``."""
