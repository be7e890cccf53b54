"""Records drawn: style · curves · pictures · results."""
