"""The fixture `case`; every test here is marked `faults`, so that the unit tests leave them to their own stage."""

from pathlib import Path

import pytest

from tests.faults.case import Case

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.faults)
            if "case" in item.fixturenames:
                rows = [row for mark in item.iter_markers("fault") for row in mark.args]
                item.user_properties.append(("rows", rows))


@pytest.fixture
def case(request):
    """`Case` of the rows named by the test's marker `fault`; its outcome goes into the ledger."""
    case = Case()
    try:
        yield case
        case.finish()
    finally:
        request.node.user_properties.append(("outcome", case.outcome))
