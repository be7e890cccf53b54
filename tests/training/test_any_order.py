"""Whatever one does with a learner, in whatever order: killed and resumed, it ends as one that was never interrupted.

`COURSE_SEQUENCES=10000` makes the long dose of it.
"""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from helpers.data.augment import side_on
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.overfitting import EarlyStopping, KeepBest
from helpers.recipe.averaging import AverageWeights
from helpers.training import loop
from helpers.training.run import Hook
from tests.conftest import draw_pictures, tiny_network

SEQUENCES = int(os.environ.get("COURSE_SEQUENCES", "4"))
HOOKS = {
    "none": lambda: [],
    "best": lambda: [KeepBest()],
    "average": lambda: [AverageWeights([1, 2])],
    "early": lambda: [EarlyStopping(1)],
}


class Killed(BaseException):
    """As if the process had ended here."""


class Kill(Hook):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, run):
        if run.step == self.at:
            raise Killed


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Eight tiny pictures, caches of their own, and a checkpoint after every epoch."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("any order")
        patch.setenv("COURSE_DATA", str(root / "data"))
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        draw_pictures(root / "pictures", n=6, size=(20, 16))
        data = ImageData.from_folders(root / "pictures", size=16, batch_size=5)
        AnyOrder.data = {"plain": data, "augmented": data.with_augment(side_on()), "larger": data.resized(24)}
        yield


class AnyOrder(RuleBasedStateMachine):
    """Two learners do the same; one of them is killed and taken up by a new one, saved and loaded, in between."""

    data: dict

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.learners = [self.fresh(name) for name in ("whole", "killed")]
        self.state = {"first": 2, "precompute": True, "bn_freeze": False, "data": "plain", "copies": 0}
        self.both()

    def fresh(self, name):
        return Learner(self.data["plain"], tiny_network(), path=Path(self.folder.name) / name).to_fp32()

    def both(self, **changes):
        self.state |= changes
        for learn in self.learners:
            self.arrange(learn)

    def arrange(self, learn):
        """As a script does that prepares its learner anew."""
        if learn.data is not self.data[self.state["data"]]:
            learn.set_data(self.data[self.state["data"]])
        learn.bn_freeze(self.state["bn_freeze"])
        learn.copies, learn.precompute = self.state["copies"], self.state["precompute"]
        learn.freeze_to(min(self.state["first"], len(learn.groups) - 1))

    @rule(
        what=st.one_of(
            st.fixed_dictionaries({"first": st.integers(0, 3)}),
            st.fixed_dictionaries({"precompute": st.booleans(), "copies": st.integers(0, 1)}),
            st.fixed_dictionaries({"bn_freeze": st.booleans()}),
            st.fixed_dictionaries({"data": st.sampled_from(["plain", "augmented", "larger"])}),
        )
    )
    def change(self, what):
        """Freeze, unfreeze, precompute on and off, with and without copies, BatchNorm, other data."""
        self.both(**what)

    @rule(
        verb=st.sampled_from(["fit_one_cycle", "fine_tune"]),
        epochs=st.integers(1, 3),
        kind=st.sampled_from(sorted(HOOKS)),
        kill_at=st.integers(0, 6),
    )
    def train(self, verb, epochs, kind, kill_at):
        def fit(learn, hooks, **how):
            if verb == "fine_tune":
                learn.fine_tune(epochs, 1e-3, freeze_epochs=epochs, hooks=hooks, **how)
            else:
                learn.fit_one_cycle(epochs, 1e-3, hooks=hooks, **how)

        whole, killed = self.learners
        kind = kind if epochs > 1 else "none"  # one epoch has no mean, no best and no end before its end
        fit(whole, HOOKS[kind]())
        killed.save("before")  # what a new process starts from when the training died before its first checkpoint
        try:
            fit(killed, [*HOOKS[kind](), Kill(kill_at)])
        except Killed:
            again = self.fresh("killed").load("before")
            self.arrange(again)
            fit(again, HOOKS[kind](), resume=True)
            self.learners[1] = again
        if verb == "fine_tune":
            self.state["first"] = 0  # it unfreezes
        self.compare()

    @rule()
    def resume_what_is_finished(self):
        """Nothing happens: the last training is over. Another training than the last is refused."""
        killed = self.learners[1]
        before = killed.about() if killed.history.epochs else None
        if before:
            try:
                killed.fit_one_cycle(99, 1e-3, resume=True)
            except ValueError as error:
                assert "epochs" in str(error)
            assert killed.about() == before

    @rule()
    def save_and_load(self):
        self.learners[1].save("kept")
        again = self.fresh("killed").load("kept")
        self.arrange(again)
        self.learners[1] = again
        self.compare()

    def compare(self):
        whole, killed = self.learners
        assert without_times(whole.history) == without_times(killed.history)
        assert whole.about() == killed.about()
        theirs = killed.model.state_dict()
        assert not [name for name, tensor in whole.model.state_dict().items() if not torch.equal(tensor, theirs[name])]
        assert torch.equal(whole.features("valid"), killed.features("valid"))
        assert (whole.split_point, whole.precompute) == (killed.split_point, killed.precompute)
        assert whole.about()["metrics"] == {"accuracy": pytest.approx(whole.get_preds().accuracy())}

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


def without_times(history):
    record = history.to_json()
    for epoch in record["epochs"]:
        epoch.pop("seconds", None)
    return record


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=SEQUENCES, stateful_step_count=6, suppress_health_check=list(HealthCheck))
