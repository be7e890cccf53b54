"""Small notebooks that the tests of the tools make."""

from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook

from tools.notebook_files import normalise

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


LESSON = """\
# %% [markdown] slideshow={"slide_type": "slide"}
# # 01 A lesson
# The rate is $\\\\frac{a}{b}$.

# %% [markdown]
# ## Exercise
# Set `answer`. See [the second](02_more.ipynb).

# %% tags=["hide-input"] slideshow={"slide_type": "fragment"}
answer = None
# solution
answer = 3

# %% tags=["solution"]
print("because", answer)

# %% [markdown] tags=["solution"] slideshow={"slide_type": "notes"}
# Why 3: it is prime.

# %%
print("headline: first")
print("headline: accuracy 0.84 of 656")
""".replace("\\\\", "\\")


def notebook_of(*sources):
    return normalise(new_notebook(cells=[new_code_cell(source) for source in sources]))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
