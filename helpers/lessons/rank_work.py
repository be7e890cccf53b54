"""What the ranks of lesson 10 work on: cached features in a folder that all of them see, and one linear head.

The folder holds rows.safetensors (what to learn from) and, after an epoch, head.safetensors: the weights, the mean
gradient of the last step, and how many epochs are done. Only rank 0 writes.
"""

import atexit
import os
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from helpers.lessons.launching import stay_on_this_machine
from helpers.runtime.seeds import generator, seeded
from helpers.runtime.tensor_files import load_tensors, save_tensors

BATCH = 32  # photographs in a step at most, of all ranks together
CUT = 9  # the exit status of a rank whose power was cut


class RankWork:
    """One rank's place among the others, the rows, the head as it was saved last, and what this rank has seen.

    Called in a plain process it is rank 0 of 1. `inputs` (N, D) float32, `targets` (N,) int64; `done` epochs are
    behind the head; `seen` is {epoch: rows that this rank has learned from}.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.rank, self.n = _meet()
        rows, about = load_tensors(self.folder / "rows.safetensors")
        self.inputs, self.targets = rows["inputs"], rows["targets"]
        self.head, self.done = new_head(self.inputs.shape[1], about["classes"]), 0
        self.seen: dict[int, list[int]] = {}
        if (self.folder / "head.safetensors").is_file():
            kept, about = load_tensors(self.folder / "head.safetensors")
            self.head.load_state_dict({name: kept[name] for name in self.head.state_dict()})
            self.done = about["epochs"]
        print(f"{len(self.targets)} photographs, {self.done} epochs are done")

    def batches(self, epoch: int) -> list[Tensor]:
        """The rows of each batch, nearly equal; the order depends on the epoch alone, so all ranks have the same."""
        order = torch.randperm(len(self.targets), generator=generator("lesson 10", epoch))
        return list(order.tensor_split(-(-len(order) // BATCH)))

    def loss(self, mine: Tensor, size: int) -> Tensor:
        """This rank's part of the mean loss over a batch of `size` photographs, of which it has the rows `mine`."""
        epoch_rows = self.seen.setdefault(self.epoch, [])
        epoch_rows += mine.tolist()
        self._cut_the_power(len(epoch_rows))
        losses = F.cross_entropy(self.head(self.inputs[mine]), self.targets[mine], reduction="sum")
        return losses / size

    @property
    def epoch(self) -> int:
        """The epoch that is being worked on, from 1."""
        return self.done + 1

    def save(self) -> None:
        """An epoch is done: rank 0 writes head, gradients and count; the others wait until it has."""
        self.done += 1
        if self.rank == 0:
            tensors = dict(self.head.state_dict())
            tensors |= {f"gradient of {name}": weights.grad for name, weights in self.head.named_parameters()}
            save_tensors(self.folder / "head.safetensors", tensors, {"epochs": self.done})
        distributed.barrier()
        print(f"epoch {self.done} is done")

    def _cut_the_power(self, rows_of_epoch: int) -> None:
        """Ends this process at once, half way through the epoch, when that was planned."""
        plan = self.folder / f"cut-{self.rank}-{self.epoch}"
        if rows_of_epoch * self.n > len(self.targets) // 2 and plan.is_file():
            plan.unlink()
            print(f"epoch {self.epoch}, half way: my power is gone", flush=True)
            os._exit(CUT)


def lay_out(folder: Path | str, inputs: Tensor, targets: Tensor, *, classes: int = 2) -> Path:
    """Make `folder` ready for ranks: the rows, and no head. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "head.safetensors").unlink(missing_ok=True)
    save_tensors(folder / "rows.safetensors", {"inputs": inputs, "targets": targets}, {"classes": classes})
    return folder


def plan_power_cut(folder: Path | str, *, rank: int, epoch: int) -> None:
    """In the middle of this epoch (counted from 1) this rank ends without a word; once."""
    Path(folder, f"cut-{rank}-{epoch}").touch()


def kept_head(folder: Path | str) -> tuple[nn.Linear, Tensor, int]:
    """(head, mean gradient of its weight in the last step (K, D), epochs done) as the ranks have left them."""
    kept, about = load_tensors(Path(folder, "head.safetensors"))
    head = new_head(kept["weight"].shape[1], kept["weight"].shape[0])
    head.load_state_dict({name: kept[name] for name in head.state_dict()})
    return head, kept["gradient of weight"], about["epochs"]


def new_head(n_features: int, classes: int = 2, *, seed: int = 0) -> nn.Linear:
    with seeded("head of ranks", seed):
        return nn.Linear(n_features, classes)


def _meet() -> tuple[int, int]:
    """(rank, number of ranks), after all of them have met; without a launcher a group of one."""
    if not distributed.is_initialized():
        stay_on_this_machine()
        alone = {} if "WORLD_SIZE" in os.environ else {"store": distributed.HashStore(), "rank": 0, "world_size": 1}
        distributed.init_process_group("gloo", **alone)
        atexit.register(distributed.destroy_process_group)
    return distributed.get_rank(), distributed.get_world_size()
