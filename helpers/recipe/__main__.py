"""The command line of the recipe: `python -m helpers.recipe --help`."""

from helpers.recipe.steps import main

raise SystemExit(main())
