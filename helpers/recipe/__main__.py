"""The command line of the recipe: `python -m helpers.recipe --help`."""

import sys

from helpers.recipe.steps import main

if __name__ == "__main__":
    sys.exit(main())
