"""What every part may use and none of the field's ideas live in: errors, files, the place of the configuration."""
