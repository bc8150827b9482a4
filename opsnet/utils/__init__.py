"""General utilities that every part may use: errors, files, the location of the configuration."""
