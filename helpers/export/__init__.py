"""A trained classifier as a folder that others can run."""
