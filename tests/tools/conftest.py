"""A folder with two small lessons."""

import pytest

from tests.tools.small_lessons import LESSON
from tools import store
from tools.notebook_files import write_notebook


@pytest.fixture
def lessons(tmp_path):
    """A folder with two lessons that have not been executed."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    write_notebook(folder / "01_lesson.ipynb", store.from_text(LESSON))
    write_notebook(folder / "02_more.ipynb", store.from_text("# %% [markdown]\n# # 02 More\n\n# %%\nprint(2)\n"))
    return folder
