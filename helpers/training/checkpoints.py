"""What is kept of a training and of a model, and whether what was kept fits."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from inspect import getclosurevars, isfunction
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from helpers.runtime.distributed import rank
from helpers.runtime.tensor_files import load_about, load_tensors, save_tensors
from helpers.training.run import History, Hook, Run

STATE = ("done", "step", "epoch", "stop", "finished", "micro_batches")  # of a run
BEHIND = ThreadPoolExecutor(1, "checkpoint")  # writes while the training goes on


def description(run: Run) -> dict:
    """What must be the same for a run to be continued, as JSON gives it back."""
    plan, groups, loss, modules = run.plan, run.optimizer.param_groups, run.loss, list(run.model.modules())
    record = {
        "epochs": plan.epochs,
        "rates": [group["base_lr"] for group in groups],
        "weight decay": [group["weight_decay"] for group in groups],
        "trained parameters": [sum(p.numel() for p in group["params"]) for group in groups],
        "dropout": [module.p for module in modules if isinstance(module, nn.modules.dropout._DropoutNd)],
        "layers": sha256(_printed(run.model).encode()).hexdigest()[:8],
        "schedule": [round(plan.schedule(i / 20), 9) for i in range(21)],
        "momentum": [round(plan.momentum(i / 20), 9) for i in range(21)] if plan.momentum else None,
        "loss": [[type(part).__name__, _settings_of(part)] for part in loss.modules()],
        "class weights": {name: tensor.tolist() for name, tensor in loss.state_dict().items()},
        "batch_transform": _printed(plan.batch_transform),
        "settings of batch_transform": _settings_of(plan.batch_transform),
        "metrics": list(plan.metrics),
        **{name: getattr(plan, name) for name in ("batch_size", "micro_batches", "precision", "max_norm", "seed")},
        "hooks": [[type(hook).__name__, _settings_of(hook, but=hook.remembers)] for hook in _remembering(run)],
        **run.facts,
    }
    return json.loads(json.dumps(record, default=_printed, skipkeys=True))


def _printed(thing: object) -> str:
    """As it prints itself, without its address in memory."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(thing))


def _remembering(run: Run) -> list[Hook]:
    return [hook for hook in run.hooks if hook.remembers]


def _settings_of(thing: object, but: Sequence[str] = ()) -> dict:
    """The attributes of an object; of a function also what it takes from outside, its defaults and its constants."""
    if isinstance(thing, partial):
        return _settings_of(thing.func)  # what else it holds is in its name
    settings = {k: v for k, v in getattr(thing, "__dict__", {}).items() if not k.startswith("_") and k not in but}
    if isfunction(thing):
        settings |= getclosurevars(thing).nonlocals
        settings["constants"] = [_printed(held) for held in (thing.__defaults__, thing.__code__.co_consts)]
    return settings


def save_run(run: Run) -> None:
    """Copy weights, hooks, history and, if steps follow, the optimizer; begin to write `run.checkpoint`, atomically."""
    tensors = {f"model/{name}": tensor for name, tensor in run.model.state_dict().items()}
    for index, state in ({} if run.finished else run.optimizer.state_dict()["state"]).items():  # no step follows
        tensors |= {f"optimizer/{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    hooks = [{name: getattr(hook, name) for name in hook.remembers} for hook in _remembering(run)]
    for place, state in enumerate(hooks):
        for name in [name for name, value in state.items() if isinstance(value, dict)]:
            tensors |= {f"hook {place} {name}/{key}": tensor for key, tensor in state.pop(name).items()}
    about = {"run": description(run), "state": {name: getattr(run, name) for name in STATE}, "hooks": hooks}
    about |= {"scaler": run.scaler.state_dict(), "before": run.before.to_json(), "history": run.history.to_json()}
    finish_saving(run)  # the one before
    if rank() == 0:
        copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        run.saving = BEHIND.submit(save_tensors, run.checkpoint, copies, about)


def finish_saving(run: Run) -> None:
    """Wait until the checkpoint is written, if one is on its way."""
    saving, run.saving = run.saving, None
    try:
        if saving:
            saving.result()
    except OSError as error:  # a full disk: the training itself goes on
        print(f"no checkpoint: {error}")


def forget_finished(file: Path) -> None:
    """Delete the checkpoint of a training that is over: if the next one is killed early, it must not be resumed."""
    with suppress(OSError, SafetensorError, LookupError, ValueError):  # none, damaged, or only to be read
        if load_about(file)["state"]["finished"] and rank() == 0:
            file.unlink()


def resume_run(run: Run) -> None:
    """Take up the run where its checkpoint left it; without a checkpoint it starts from the beginning and says so.

    Raises ValueError when the checkpoint is of another run, naming what differs.
    """
    if not run.checkpoint.is_file():
        print(f"nothing to resume at {run.checkpoint.name}: starting from the first epoch")
        return
    tensors, about = load_tensors(run.checkpoint)
    ours, theirs = description(run), about["run"]
    if differ := [key for key in ours | theirs if ours.get(key) != theirs.get(key)]:
        what = "; ".join(f"{key} {theirs.get(key)!s:.160} then, {ours.get(key)!s:.160} now" for key in differ)
        raise ValueError(f"{run.checkpoint} is of another run: {what}. Ask for the same run, or leave resume=True out")
    sections: dict[str, dict[str, Tensor]] = defaultdict(dict)  # a hook's dict may have been empty
    for name, tensor in tensors.items():
        section, _, key = name.partition("/")
        sections[section][key] = tensor.to(run.device, copy=True)  # Windows replaces no file that is still mapped
    run.model.load_state_dict(sections["model"])
    _load_optimizer(run.optimizer, sections["optimizer"])
    for place, (hook, state) in enumerate(zip(_remembering(run), about["hooks"], strict=True)):
        for name in hook.remembers:
            setattr(hook, name, state[name] if name in state else sections[f"hook {place} {name}"])
    for name in STATE:
        setattr(run, name, about["state"][name])
    run.scaler.load_state_dict(about["scaler"])
    run.before, run.history = History.from_json(about["before"]), History.from_json(about["history"])
    left = ": it is finished, nothing is trained; to train on, leave resume=True out" if run.finished else ""
    print(f"resuming after {run.done} of {run.plan.epochs} epochs{left}")


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state, parameters = optimizer.state_dict(), [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        # moments in the memory layout of their parameter: fused optimizers walk both side by side
        moment = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state["state"].setdefault(int(index), {})[key] = moment
    optimizer.load_state_dict(state)


def load_model(file: Path, model: nn.Module, *, arch: str, classes: tuple[str, ...]) -> History:
    """Put the weights in `file` into `model`; returns the history that made them.

    Raises FileNotFoundError naming what is there, ValueError naming what does not fit; then nothing has changed.
    """
    tensors, about = load_tensors(file)
    for what, ours in (("arch", arch), ("classes", list(classes))):
        if about.get(what) != ours:
            theirs = about.get(what)
            raise ValueError(f"{file} holds {what} {theirs}; this learner has {ours}. Build it as it was saved")
    theirs, ours = ({name: tuple(t.shape) for name, t in state.items()} for state in (tensors, model.state_dict()))
    if differ := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
        name = differ[0]
        raise ValueError(f"{file} holds another network: {name} is {theirs.get(name)} there, {ours.get(name)} here")
    model.load_state_dict(tensors)
    return History.from_json(about["history"])
