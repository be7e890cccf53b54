"""Lesson 10: each typical mistake meets its own sentence."""

import pytest

from helpers.lessons.checks.lesson_10 import STEPS, check_10_1, check_10_2, check_10_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.lessons.scaling import Cluster

CLUSTER = Cluster(pictures_per_second=60, gradient_bytes=16_000_000)


def test_six_steps():
    assert check_10_1(6).state == check_10_1(6.0).state == RIGHT


@pytest.mark.parametrize(("answer", "said"), [*STEPS.items(), (1500 / 256, "still makes one"), (12, "how many")])
def test_other_steps_are_told_apart(answer, said):
    verdict = check_10_1(answer)
    assert verdict.state == NOT_YET and said in verdict.message


def test_no_answer_yet():
    assert check_10_1(None).state == check_10_2(None, None, CLUSTER).state == UNFINISHED
    assert check_10_2(1.1, None, CLUSTER).state == UNFINISHED, "the run is missing"
    assert check_10_3(lambda step, steps, n: ...).state == UNFINISHED
    assert "'6'" in check_10_1("6").message


def test_the_exchange_of_twice_the_machines():
    ratio = CLUSTER.exchange(16) / CLUSTER.exchange(8)
    assert 15 / 16 / (7 / 8) < ratio < 1.15  # a little more than the bytes alone, for the latencies
    assert "as you predicted" in check_10_2(1.1, ratio, CLUSTER).message
    assert "and 2 was predicted" in check_10_2(2, ratio, CLUSTER).message


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (CLUSTER.exchange(8) / CLUSTER.exchange(16), "the other one"),
        (CLUSTER.step(16) / CLUSTER.step(8), "whole steps"),
        (CLUSTER.epoch(1500, 16) / CLUSTER.epoch(1500, 8), "epochs"),
        (CLUSTER.exchange(16), "in seconds"),
        (2.0, "divide the seconds"),
    ],
)
def test_other_ratios_are_told_apart(ratio, said):
    verdict = check_10_2(2, ratio, CLUSTER)
    assert verdict.state == NOT_YET and said in verdict.message


@pytest.mark.parametrize(
    "warm_up",
    [lambda s, k, n: 1 + (n - 1) * min(1, s / k), lambda s, k, n: n if s >= k else 1 + s * (n - 1) / k],
)
def test_a_warm_up_is_accepted_however_it_is_written(warm_up):
    assert check_10_3(warm_up).state == RIGHT


@pytest.mark.parametrize(
    ("warm_up", "said"),
    [
        (lambda s, k, n: n * min(1, s / k), "begins at 0"),
        (lambda s, k, n: 1 + (n - 1) * s / k, "goes on rising"),
        (lambda s, k, n: n ** min(1, s / k), "even steps add"),
        (lambda s, k, n: n, "nothing warms up"),
        (lambda s, k, n: 1 + n * min(1, s / k) if s <= k else n, "ends at n + 1"),
        (lambda s, k, n: 1 + n * min(1, s / k), "ends at n + 1"),
        (lambda s, k, n: 1 + 7 * min(1, s / 10), "not for 3 machines"),
        (lambda s, k, n: 1, "half way"),
        (lambda s, k, n: print(s), "returns nothing"),
        (3, "expected a function"),
    ],
)
def test_other_warm_ups_are_told_apart(warm_up, said):
    verdict = check_10_3(warm_up)
    assert verdict.state == NOT_YET and said in verdict.message
