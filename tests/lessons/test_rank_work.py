"""What the ranks of lesson 10 do, in one process and in two."""

import os
import signal

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F

from helpers.lessons import rank_work
from helpers.lessons.launching import launch
from helpers.lessons.rank_work import RankWork, kept_head, lay_out, new_head, plan_power_cut
from helpers.runtime.seeds import generator

N, EPOCHS = 71, 4  # 24 + 24 + 23: the last batch cannot be halved


@pytest.fixture
def folder(tmp_path):
    rng = generator("ranks")
    inputs = torch.randn(N, 12, generator=rng)
    return lay_out(tmp_path / "shared", inputs, (inputs[:, 0] > 0).long())


def train(folder, epochs):
    work = RankWork(folder)
    for epoch in range(work.done, epochs):
        for batch in work.batches(epoch):
            mine = batch[work.rank :: work.n]
            work.head.zero_grad()
            work.loss(mine, len(batch)).backward()
            for weights in work.head.parameters():
                distributed.all_reduce(weights.grad)
                weights.data -= 0.1 * weights.grad
        work.save()
    return work.seen


@pytest.fixture
def two_ranks(monkeypatch):
    """Two ranks one after the other in this process, without any exchange."""
    ranks = iter([(0, 2), (1, 2)])
    monkeypatch.setattr(rank_work, "_meet", lambda: next(ranks))


def test_the_parts_of_two_ranks_add_up_to_the_gradient_of_the_batch(folder, two_ranks):
    works = [RankWork(folder) for _ in range(2)]
    for batch in works[0].batches(0):
        gradients = []
        for work in works:
            work.head.zero_grad()
            work.loss(batch[work.rank :: 2], len(batch)).backward()
            gradients.append(work.head.weight.grad.clone())
        head = new_head(12)
        F.cross_entropy(head(works[0].inputs[batch]), works[0].targets[batch]).backward()
        torch.testing.assert_close(sum(gradients), head.weight.grad, atol=1e-7, rtol=0)
    assert sorted(works[0].seen[1] + works[1].seen[1]) == list(range(N))


def test_each_epoch_has_its_own_order_and_all_ranks_the_same(folder, two_ranks):
    first, second = RankWork(folder), RankWork(folder)
    orders = [torch.cat(work.batches(epoch)).tolist() for work in (first, second) for epoch in (0, 1)]
    assert orders[:2] == orders[2:] and orders[0] != orders[1]
    assert all(sorted(order) == list(range(N)) for order in orders)


def test_the_power_is_cut_once_half_way_and_only_there(folder, two_ranks, monkeypatch, capsys):
    class Dead(Exception):
        """What a test can survive."""

    def die(status):
        raise Dead(status)

    monkeypatch.setattr(os, "_exit", die)
    plan_power_cut(folder, rank=1, epoch=1)
    for work in (RankWork(folder), RankWork(folder)):
        for at, batch in enumerate(work.batches(0)):
            if (work.rank, at) == (1, 1):
                with pytest.raises(Dead):
                    work.loss(batch[1::2], len(batch))
            else:
                work.loss(batch[work.rank :: 2], len(batch))
    assert capsys.readouterr().out.count("epoch 1, half way: my power is gone") == 1


@pytest.mark.ranks
def test_a_training_whose_power_was_cut_goes_on_by_the_same_command_and_ends_as_one_process_does(
    folder, tmp_path, capsys
):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    plan_power_cut(folder, rank=1, epoch=3)
    assert launch(train, str(folder), EPOCHS) == [None, None]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"rank 0: {N} photographs, 0 epochs are done",
        "rank 0: epoch 1 is done",
        "rank 0: epoch 2 is done",
        f"rank 1: {N} photographs, 0 epochs are done",
        "rank 1: epoch 1 is done",
        "rank 1: epoch 2 is done",
        "rank 1: epoch 3, half way: my power is gone",
        "a rank ended without a word, so the launcher ended the others: nothing comes back",
    ]
    assert kept_head(folder)[2] == 2
    seen = launch(train, str(folder), EPOCHS)
    assert f"rank 1: {N} photographs, 2 epochs are done" in capsys.readouterr().out
    assert [sorted(seen[0][epoch] + seen[1][epoch]) for epoch in (3, 4)] == [list(range(N))] * 2
    rows, _ = rank_work.load_tensors(folder / "rows.safetensors")
    alone = lay_out(tmp_path / "alone", rows["inputs"], rows["targets"])
    [seen] = launch(train, str(alone), EPOCHS, n=1)
    assert sorted(seen[1]) == list(range(N))
    for two, one in zip(kept_head(folder)[:2], kept_head(alone)[:2], strict=True):
        two, one = (each.weight if isinstance(each, nn.Module) else each for each in (two, one))
        torch.testing.assert_close(two, one, atol=1e-6, rtol=0)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def fail_on(rank):
    if os.environ["RANK"] == str(rank):
        raise ValueError("no such photograph")
    return "fine"


@pytest.mark.ranks
def test_an_exception_in_a_rank_is_raised_here(capsys):
    with pytest.raises(RuntimeError, match=r"(?s)rank 1 stopped.*ValueError: no such photograph"):
        launch(fail_on, 1)
