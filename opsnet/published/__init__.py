"""Published models of the field: recognises weight files by their keys and builds their networks from the shapes."""
