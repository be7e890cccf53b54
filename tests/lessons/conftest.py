"""Checks count wrong tries since the kernel started; here each test is a fresh kernel."""

import pytest

from helpers.lessons.checks import verdict


@pytest.fixture(autouse=True)
def fresh_kernel():
    verdict.wrong_tries.clear()
    yield
    verdict.wrong_tries.clear()
