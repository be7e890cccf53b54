"""A pytest plugin (`-p tests.notebooks.tolerance`): nbval runs the cells, `tools.compare` compares their outputs.

The notebooks run as they were stored: without models, marks or a board from an earlier run, and without touching those.
"""

from contextlib import ExitStack
from functools import partial

import pytest
from nbval.plugin import IPyNbCell

from tools.compare import differences, tolerances_of
from tools.lesson_state import fresh_home


def pytest_configure(config: pytest.Config) -> None:
    if config.option.nbval:
        stack = ExitStack()
        stack.enter_context(fresh_home())
        config.add_cleanup(stack.close)


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, IPyNbCell):
        item.compare_outputs = partial(_compare, item, tolerances_of(item.path.stem))


def _compare(item: IPyNbCell, tolerances, new: list, stored: list) -> bool:
    """As nbval's own method: whether the outputs agree; what differs goes where nbval reports it from."""
    found = differences(stored, new, tolerances)
    where = f"{item.path.stem}, code cell [{item.cell_num + 1}]"
    item.comparison_traceback = [f"{where}: {difference}" for difference in found]
    return not found
