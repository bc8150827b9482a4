"""Jobs that need the web page in a browser."""
