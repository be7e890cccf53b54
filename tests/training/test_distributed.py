"""Several processes train the network that one trains: the same gradients, and each picture once.

Run as a script this file is what torchrun starts: one of its functions, in a folder.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

ROOT = Path(__file__).parents[2]
KINDS = {  # settings of a learner: what it trains, and what BatchNorm does there
    "features": {"precompute": True},
    "head on pictures": {"metrics": ("accuracy", "f1")},
    "everything": {"trained_from": 0, "layer_groups": "stages"},
    "statistics frozen": {"trained_from": 0, "bn": "frozen everywhere", "max_norm": 0.5},
    "statistics of frozen groups": {"trained_from": 1, "bn": "train"},
    "micro-batches": {"trained_from": 0, "accumulate": 2},
}
EPOCHS, STEPS = 3, 2  # 22 training pictures in batches of at most 11, which neither 2 nor 3 processes halve
SHARDS = 5  # 29 pictures by 6


# What torchrun starts ------------------------------------------------------------------------------------------------


def learner(folder, *, trained_from=None, precompute=False, **settings):
    from helpers.data.augment import side_on
    from helpers.data.dataset import ImageData
    from helpers.learner import Learner

    how = {"size": 32, "batch_size": -(-11 // settings.get("accumulate", 1)), "augment": side_on()}
    data = ImageData.from_folders(folder / "pictures", **how)
    how = {"pretrained": False, "dropout": 0.0, "precompute": precompute, "path": folder}
    learn = Learner.pretrained(data, "test_resnet", **how, **settings)
    if trained_from is not None:
        learn.freeze_to(trained_from)
    return learn


def train_all_kinds(folder):
    """In float64, so that rounding is no excuse; every rank keeps the gradients of each step and the weights."""
    from helpers.runtime.tensor_files import save_tensors
    from helpers.training.run import Hook

    class Gradients(Hook):
        def on_fit_begin(self, run):
            self.found = {}

        def on_step_end(self, run):
            named = {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}
            self.found |= {f"gradient {run.step} of {name}": gradient for name, gradient in named.items()}

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    for kind, settings in KINDS.items():
        gradients, learn = Gradients(), learner(folder, **settings)
        learn.model.double()
        finder = learn.lr_find(steps=10, end=1e-2)
        history = learn.fit_one_cycle(EPOCHS, slice(1e-4, 1e-3), hooks=[gradients])
        epochs = [[epoch.train_loss, epoch.valid_loss, epoch.metrics] for epoch in history.epochs]
        about = {"epochs": epochs, "losses": history.losses, "finder": finder.losses, "steps": history.steps_per_epoch}
        tensors = learn.model.state_dict() | gradients.found
        name = f"{kind} {os.environ.get('WORLD_SIZE', 1)} {os.environ.get('RANK', 0)}.safetensors"
        save_tensors(folder / name, tensors, about)


def train_and_save(folder):
    """The same weights as ever, or those of a training that goes on from a checkpoint."""
    learn = learner(folder, trained_from=0)
    learn.fit_one_cycle(EPOCHS, 1e-3, resume=True)
    learn.save(f"weights {os.environ['WORLD_SIZE']}")
    print("epochs", [epoch.number for epoch in learn.history.epochs], flush=True)


def train_two_epochs_of_three(folder):
    """Ctrl-C in the last epoch, which leaves a checkpoint."""
    from helpers.training import loop
    from helpers.training.run import Hook

    class Stop(Hook):
        def on_step_end(self, run):
            if run.step == 2 * STEPS + 1:
                raise KeyboardInterrupt

    loop.CHECKPOINT_SECONDS = 0
    learner(folder, trained_from=0).fit_one_cycle(EPOCHS, 1e-3, hooks=[Stop()])


def extract(folder):
    """Features in shards of six pictures; the last rank is killed after its first shard if a file says so."""
    from helpers.models import features

    features.SHARD_ROWS, save = 6, features.save_tensors

    def save_and_die(file, tensors, about):
        save(file, tensors, about)
        with (folder / "written").open("a") as written:
            written.write(f"{file.name}\n")
        if (folder / "kill").exists() and os.environ.get("RANK") != "0":
            os.kill(os.getpid(), signal.SIGKILL)

    features.save_tensors = save_and_die
    table = learner(folder, precompute=True).source().plain
    save(folder / f"features {os.environ.get('WORLD_SIZE', 1)}.safetensors", {"features": table}, {})


# How it is started ---------------------------------------------------------------------------------------------------


def start(program, folder, *launcher):
    home = {"COURSE_DATA": str(folder / "data"), "COURSE_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **home, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, *launcher, __file__, program, str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def torchrun(n, *options):
    return "-m", "torch.distributed.run", f"--nproc-per-node={n}", *(options or ["--standalone"])


def run(program, folder, *launcher, fails=False):
    """What it printed."""
    process = start(program, folder, *launcher)
    printed, _ = process.communicate(timeout=240)
    assert (process.returncode != 0) == fails, printed
    return printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fresh(tmp_path_factory.mktemp("distributed"))


def fresh(folder):
    from tests.conftest import draw_pictures

    draw_pictures(folder / "pictures", n=15)
    (folder / "pictures" / "light" / "light_14.png").unlink()  # 29: 22 to train, 7 to validate
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    run("train_all_kinds", folder)
    return folder


@pytest.mark.ranks
@pytest.mark.parametrize("n", [2, 3])
def test_the_gradients_weights_and_counts_are_those_of_one_process(alone, n):
    """Catches means of means, shares that overlap, statistics of a part of the batch, and validation that is padded."""
    from helpers.runtime.tensor_files import load_tensors

    printed = run("train_all_kinds", alone, *torchrun(n))
    assert printed.count("epoch  train_loss") == len(KINDS), "one rank prints"
    for kind in KINDS:
        expected, told = load_tensors(alone / f"{kind} 1 0.safetensors")
        for rank in range(n):
            found, about = load_tensors(alone / f"{kind} {n} {rank}.safetensors")
            assert found.keys() == expected.keys() and any(name.startswith("gradient 6") for name in found)
            for name, tensor in expected.items():
                torch.testing.assert_close(
                    found[name], tensor, rtol=1e-6, atol=1e-6, msg=f"{kind}, rank {rank}: {name}"
                )
            assert about["finder"] == pytest.approx(told["finder"], rel=1e-6)
            assert about["losses"] == pytest.approx(told["losses"], rel=1e-6)
            assert about["steps"] == told["steps"] == [STEPS] * EPOCHS
            for ours, theirs in zip(about["epochs"], told["epochs"], strict=True):
                assert ours[:2] == pytest.approx(theirs[:2], rel=1e-6)
                assert ours[2] == theirs[2], "metrics come from counts, which are whole numbers"


@pytest.mark.ranks
def test_a_checkpoint_is_taken_up_by_another_number_of_processes(tmp_path):
    """Catches a checkpoint for one number of ranks only, and epochs that are trained twice or left out."""
    from helpers.runtime.tensor_files import load_tensors

    fresh(tmp_path)
    assert "nothing to resume" in run("train_and_save", tmp_path, *torchrun(2))
    run("train_two_epochs_of_three", tmp_path)
    printed = run("train_and_save", tmp_path, *torchrun(3))
    assert "resuming after 2 of 3 epochs" in printed and "epochs [0, 1, 2]" in printed
    whole, resumed = (load_tensors(tmp_path / f"weights {n}.safetensors") for n in (2, 3))
    losses = [[epoch["train_loss"] for epoch in about["history"]["epochs"]] for _, about in (whole, resumed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # float32


@pytest.mark.ranks
def test_two_machines_train_together(tmp_path):
    """Two launchers that meet at an address, as on two machines. Catches ranks that are numbered per machine."""
    fresh(tmp_path)
    meeting = ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:29517", "--rdzv-id=test"]
    launchers = [start("train_and_save", tmp_path, *torchrun(1, *meeting, "--local-addr=127.0.0.1")) for _ in range(2)]
    printed = [process.communicate(timeout=240)[0] for process in launchers]
    assert [process.returncode for process in launchers] == [0, 0], printed
    assert sorted("epochs [0, 1, 2]" in text for text in printed) == [False, True], "one rank prints"
    assert (tmp_path / "weights 2.safetensors").is_file()


@pytest.mark.ranks
def test_features_are_extracted_in_shards_by_any_number_of_processes(tmp_path):
    """Catches shards in another order or left out, and finished ones that are computed again after a kill."""
    from helpers.runtime.tensor_files import load_tensors

    fresh(tmp_path)
    tables, cache, written = [], tmp_path / "data" / "cache" / "features", tmp_path / "written"
    for n in (1, 2, 3):
        if n == 2:
            (tmp_path / "kill").touch()
            run("extract", tmp_path, *torchrun(2), fails=True)
            (tmp_path / "kill").unlink()
            finished = {file.name: file.stat().st_mtime_ns for file in cache.glob("*.safetensors")}
            assert 1 <= len(finished) < SHARDS
            before = written.read_text().split()
        run("extract", tmp_path, *torchrun(n)) if n > 1 else run("extract", tmp_path)
        tables.append(load_tensors(tmp_path / f"features {n}.safetensors")[0]["features"])
        again = written.read_text().split()
        assert len(again) == len(set(again)) == SHARDS
        if n == 2:
            assert again[: len(before)] == before
        written.unlink()
        for file in cache.glob("*.safetensors"):
            file.unlink()
    assert len(tables[0]) == 29
    assert torch.equal(tables[0], tables[1]) and torch.equal(tables[0], tables[2])


# In one process ------------------------------------------------------------------------------------------------------


@given(n=st.integers(2, 300), batch_size=st.integers(1, 300), n_ranks=st.integers(1, 9))
def test_each_picture_is_in_one_share_of_one_batch(n, batch_size, n_ranks):
    """Catches padding, and pictures left out where sizes do not divide."""
    from helpers.data.dataset import even_batches

    order = torch.randperm(n)
    whole = even_batches(order, batch_size)
    shares = [even_batches(order, batch_size, slice(rank, None, n_ranks)) for rank in range(n_ranks)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(batch.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sorted(torch.cat(whole).tolist()) == list(range(n))


@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4, 6)])
@pytest.mark.parametrize("affine", [True, False])
def test_its_batchnorm_is_torchs(shape, affine):
    """Catches a biased running variance, a momentum the wrong way round, a forgotten eps, and wrong gradients."""
    from helpers.runtime.distributed import _SyncedBatchNorm

    results = []
    for synced in (False, True):
        rng = torch.Generator().manual_seed(0)
        maps = (3 * torch.randn(shape, generator=rng) + 5).requires_grad_()
        mean, var, *affines = torch.rand(4, 3, generator=rng).unbind()
        affines = [tensor.requires_grad_() for tensor in affines] if affine else [None, None]
        how = {"training": True, "momentum": 0.3, "eps": 0.02}
        if synced:
            with _SyncedBatchNorm():
                out = functional.batch_norm(maps, mean, var, *affines, **how)
        else:
            out = functional.batch_norm(maps, mean, var, *affines, **how)
        (out * torch.rand(shape, generator=rng)).sum().backward()
        gradients = [tensor.grad for tensor in [maps, *affines] if tensor is not None]
        results.append([out, mean, var, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
