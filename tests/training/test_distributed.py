"""Several processes train the network that one trains: the same gradients, and each picture once.

Run as a script this file is what torchrun starts: one of its functions, in a folder.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).parents[2]
KINDS = {  # settings of a learner: what it trains, and what BatchNorm does there
    "features": {"precompute": True},
    "head on pictures": {"metrics": ("accuracy", "f1")},
    "everything": {"trained_from": 0, "layer_groups": "stages"},
    "statistics frozen": {"trained_from": 0, "bn": "frozen everywhere", "max_norm": 0.5},
    "statistics of frozen groups": {"trained_from": 1, "bn": "train"},
    "micro-batches": {"trained_from": 0, "accumulate": 2},
    "a norm folded into a convolution while it trains": {"own": True},
}
EPOCHS, STEPS = 3, 2  # 22 training pictures in batches of at most 11, which neither 2 nor 3 processes halve
SHARDS = 5  # 29 pictures by 6
HOME = {"COURSE_DEVICE": "cpu", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


# What torchrun starts ------------------------------------------------------------------------------------------------


def learner(folder, *, trained_from=None, precompute=False, own=False, **settings):
    from helpers.data.augment import side_on
    from helpers.data.dataset import ImageData
    from helpers.learner import Learner

    how = {"size": 32, "batch_size": -(-11 // settings.get("accumulate", 1)), "augment": side_on()}
    data = ImageData.from_folders(folder / "pictures", **how)
    if own:
        return Learner(data, network_with_a_block(), path=folder, **settings)
    how = {"pretrained": False, "dropout": 0.0, "precompute": precompute, "path": folder}
    learn = Learner.pretrained(data, "test_resnet", **how, **settings)
    if trained_from is not None:
        learn.freeze_to(trained_from)
    return learn


def network_with_a_block():
    """A block of the efficientnets on maps of 16 x 16: large enough for its first norm to be folded."""
    from data_setup.lite.network import InvertedResidual, conv

    torch.manual_seed(0)
    block = InvertedResidual(4, 6, 3, 2, 3)
    return nn.Sequential(conv(3, 4, 3, 2), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))


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
        predicted = {"predicted": learn.get_preds().log_probs, "views": learn.tta(n=2).log_probs}
        tensors = learn.model.state_dict() | gradients.found | predicted
        name = f"{kind} {os.environ.get('WORLD_SIZE', 1)} {os.environ.get('RANK', 0)}.safetensors"
        save_tensors(folder / name, tensors, about)


def train_and_save(folder):
    """The same weights as ever, or those of a training that goes on from a checkpoint."""
    learn = learner(folder, trained_from=0)
    learn.fit_one_cycle(EPOCHS, 1e-3, resume=True)
    learn.save(f"weights {os.environ.get('WORLD_SIZE', 1)}")
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
    plain = learner(folder, precompute=True).source().plain
    table = plain[torch.arange(plain.shape[0])]
    save(folder / f"features {os.environ.get('WORLD_SIZE', 1)}.safetensors", {"features": table}, {})


def extract_from_archives(folder):
    """Features of the pictures in tar shards; the last rank is killed in its second one if a file says so.

    Its features are written then, but the file does not have its name yet.
    """
    from data_setup.base import files
    from helpers.lessons import shards
    from helpers.runtime.tensor_files import save_tensors

    compute, fsync, mine = shards.compute, os.fsync, []

    def compute_and_note(model, index, number, **how):
        mine.append(number)
        with (folder / "computed").open("a") as computed:
            computed.write(f"{number}\n")
        return compute(model, index, number, **how)

    def fsync_or_die(file):
        fsync(file)
        if len(mine) == 2 and (folder / "kill").exists() and os.environ.get("RANK") != "0":
            os.kill(os.getpid(), signal.SIGKILL)

    shards.compute, files.os.fsync = compute_and_note, fsync_or_die
    found = shards.extract_shards(folder / "archives", arch="test_resnet", size=32, pretrained=False)
    if os.environ.get("RANK", "0") == "0":
        save_tensors(folder / "archived.safetensors", {"features": torch.cat(list(found.blocks()))}, {})


def the_recipe(folder):
    """All its steps; the second rank is killed in the middle of the second of three epochs if a file says so, once."""
    from functools import partial, partialmethod

    from helpers.export import bundle
    from helpers.recipe import steps
    from helpers.training import loop

    loop.CHECKPOINT_SECONDS, train_step = 0, loop.train_step
    bundle.write_onnx = lambda model, file, images: float(file.write_bytes(b""))
    bundle.need_packages = steps.need_packages = bool
    steps.draw_figures = lambda *_: {}  # these take seconds, and have tests of their own
    steps.Learner.pretrained = partial(steps.Learner.pretrained, pretrained=False, dropout=0.0)
    steps.Learner.lr_find = partialmethod(steps.Learner.lr_find, steps=10)
    steps.ImageData = partial(steps.ImageData, batch_size=11)

    def train_or_die(run, batch):
        dies = run.plan.epochs == EPOCHS and run.step == run.steps_per_epoch + 1 and os.environ.get("RANK") == "1"
        if dies and (folder / "kill").exists():
            (folder / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return train_step(run, batch)

    loop.train_step = train_or_die
    settings = ["--arch", "test_resnet", "--quick", "--size", "32", "--report", str(folder / "report")]
    raise SystemExit(steps.main([str(folder / "pictures"), *settings]))


# How it is started ---------------------------------------------------------------------------------------------------


def start(program, folder, *launcher):
    environment = {**os.environ, **HOME, "COURSE_DATA": str(folder / "data")}
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
            assert len(found["predicted"]) == len(found["views"]) == 7
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


def run_on_two_machines(program, folder, *options):
    """Two launchers that meet at an address, as on two machines; what each of them printed."""
    meeting = ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:29517", "--rdzv-id=test"]
    how = torchrun(1, *meeting, "--local-addr=127.0.0.1", *options)
    launchers = [start(program, folder, *how) for _ in range(2)]
    printed = [process.communicate(timeout=240)[0] for process in launchers]
    assert [process.returncode for process in launchers] == [0, 0], printed
    return printed


@pytest.mark.ranks
def test_two_machines_train_together(tmp_path):
    """Catches ranks that are numbered per machine."""
    printed = run_on_two_machines("train_and_save", fresh(tmp_path))
    assert sorted("epochs [0, 1, 2]" in text for text in printed) == [False, True], "one rank prints"
    assert (tmp_path / "weights 2.safetensors").is_file()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = fresh(tmp_path_factory.mktemp("uninterrupted"))
    run("the_recipe", folder, *torchrun(2))
    return result_in(folder)


def result_in(folder):
    """What the recipe left behind, less the time that it took."""
    assert sorted(file.name for file in (folder / "report").iterdir()) == ["model", "report.html", "result.json"]
    result = json.loads((folder / "report" / "result.json").read_text())
    epochs = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in result["epochs"]]
    return epochs, result["accuracy"], result["tta_accuracy"]


@pytest.mark.ranks
def test_a_killed_rank_is_started_again_and_the_training_goes_on(uninterrupted, tmp_path):
    """By torchrun. Catches epochs that are trained twice or left out."""
    (fresh(tmp_path) / "kill").touch()
    printed = run("the_recipe", tmp_path, *torchrun(2, "--standalone", "--max-restarts=3"))
    assert "resuming after 1 of 3 epochs" in printed, printed
    assert not (tmp_path / "kill").exists()
    assert result_in(tmp_path) == uninterrupted, "to the last bit"


@pytest.mark.ranks
def test_two_machines_go_on_together_after_a_kill_on_one(uninterrupted, tmp_path):
    """Each launcher starts its own ranks again, and these have to find each other."""
    (fresh(tmp_path) / "kill").touch()
    printed = run_on_two_machines("the_recipe", tmp_path, "--max-restarts=3")
    assert sum("resuming after 1 of 3 epochs" in text for text in printed) == 1, printed
    assert result_in(tmp_path) == uninterrupted, "to the last bit"


@pytest.mark.ranks
def test_the_same_command_goes_on_by_hand_with_another_number_of_processes(uninterrupted, tmp_path):
    """Catches a second command that begins again, and a checkpoint that only the same number of ranks can take up."""
    (fresh(tmp_path) / "kill").touch()
    run("the_recipe", tmp_path, *torchrun(2), fails=True)
    printed = run("the_recipe", tmp_path)
    assert "resuming after 1 of 3 epochs" in printed, printed
    epochs, *_ = result_in(tmp_path)
    assert [epoch["number"] for epoch in epochs] == [epoch["number"] for epoch in uninterrupted[0]]
    losses = [[epoch["valid_loss"] for epoch in some] for some in (epochs, uninterrupted[0])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # float32


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


@pytest.mark.ranks
def test_a_kill_while_archives_are_read_costs_one_archive(tmp_path):
    """Catches features that are lost or computed again, half a file taken for a whole one, and rows mixed up."""
    from data_setup.items import label_by_folder
    from data_setup.shards.writing import write_shards
    from helpers.runtime.tensor_files import load_tensors

    archives = write_shards(label_by_folder(fresh(tmp_path) / "pictures"), tmp_path / "archives", megabytes=0.03).shards
    assert len(archives) > 4
    run("extract_from_archives", tmp_path)
    (table,) = tmp_path.glob("archives/features/*")
    expected = load_tensors(tmp_path / "archived.safetensors")[0]["features"]
    shutil.rmtree(table)
    (tmp_path / "kill").touch()
    run("extract_from_archives", tmp_path, *torchrun(2), fails=True)
    (tmp_path / "kill").unlink()
    finished = {file: file.stat().st_mtime_ns for file in table.glob("*.safetensors")}
    assert table / "000001.safetensors" in finished and table / "000003.safetensors" not in finished
    assert list(table.glob(".000003.safetensors.*")), "it was killed while it wrote"
    (tmp_path / "computed").unlink()
    run("extract_from_archives", tmp_path, *torchrun(3))
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    again = sorted(map(int, (tmp_path / "computed").read_text().split()))
    assert again == [n for n in range(len(archives)) if table / f"{n:06}.safetensors" not in finished]
    found = load_tensors(tmp_path / "archived.safetensors")[0]["features"]
    assert len(found) == 29 and torch.equal(found, expected)


@pytest.mark.gpu
@pytest.mark.ranks
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="each process needs a GPU of its own")
def test_each_process_trains_on_a_gpu_of_its_own(tmp_path, monkeypatch):
    """Catches ranks that share the first GPU, counts that NCCL cannot add up, and another result than the CPU's."""
    from helpers.runtime.tensor_files import load_tensors

    fresh(tmp_path)
    run("train_and_save", tmp_path)
    monkeypatch.setitem(HOME, "COURSE_DEVICE", "cuda")
    run("train_and_save", tmp_path, *torchrun(2))
    cpu, gpu = (load_tensors(tmp_path / f"weights {n}.safetensors")[1]["history"]["epochs"] for n in (1, 2))
    losses = [[epoch["train_loss"] for epoch in epochs] for epochs in (cpu, gpu)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # TF32


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
    from helpers.runtime.torch_gaps import WholeBatchNorm

    results = []
    for synced in (False, True):
        rng = torch.Generator().manual_seed(0)
        maps = (3 * torch.randn(shape, generator=rng) + 5).requires_grad_()
        mean, var, *affines = torch.rand(4, 3, generator=rng).unbind()
        affines = [tensor.requires_grad_() for tensor in affines] if affine else [None, None]
        how = {"training": True, "momentum": 0.3, "eps": 0.02}
        if synced:
            with WholeBatchNorm(total=torch.clone):  # of one process
                out = functional.batch_norm(maps, mean, var, *affines, **how)
        else:
            out = functional.batch_norm(maps, mean, var, *affines, **how)
        (out * torch.rand(shape, generator=rng)).sum().backward()
        gradients = [tensor.grad for tensor in [maps, *affines] if tensor is not None]
        results.append([out, mean, var, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_process_takes_the_gpu_of_its_number_and_adds_up_the_cpu_s_numbers_too(monkeypatch):
    """Catches a device that is only named, so that every process fills the first GPU, and a CPU's tensor for NCCL."""
    from helpers.runtime import device, distributed

    called = {}
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("COURSE_PRECISION", "float32")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: called.update(set=chosen))
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda **how: called.update(how))
    monkeypatch.setattr(distributed.atexit, "register", lambda function: None)
    distributed.join(device.pick_device())
    second = torch.device("cuda:1")
    assert called.pop("timeout") > distributed.dist.default_pg_timeout, "one may have hours more to do"
    assert called == {"set": second, "backend": "cpu:gloo,cuda:nccl", "device_id": second}


def test_rows_are_shared_out_and_put_together_again(monkeypatch):
    """Catches rows in another order, and a rank that has none where there are fewer rows than ranks."""
    from helpers.analysis import predictions
    from helpers.runtime import distributed

    tables = []
    monkeypatch.setattr(distributed, "n_ranks", lambda: 3)
    monkeypatch.setattr(predictions, "total", lambda table: tables.append(table) or table)
    for n in (1, 2, 3, 7):
        logits = torch.rand(n, 2)
        tables.clear()
        for rank in range(3):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            how = predictions.Arithmetic(torch.device("cpu"), torch.float32, 2, distributed.share(n))
            batches = logits[how.share].split(how.batch_size)
            table = predictions._one_pass(torch.nn.Identity(), batches, torch.nn.Identity(), n, how)
        assert len(tables) == (0 if n < 3 else 3)
        torch.testing.assert_close(sum(tables) if tables else table, logits.log_softmax(dim=1))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
