"""All steps of the lectures, end to end: `python -m helpers.recipe`."""
