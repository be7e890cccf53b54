"""The command line of the recipe: `python -m helpers.recipe --help`."""

import sys

from helpers.recipe.steps import main

sys.exit(main())
