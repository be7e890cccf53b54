"""A clinic of sick curves: eight trainings of a few seconds, made on the spot, shown in mixed order.

Name the illness of each before cause and cure unfold. Nothing is drawn by hand: the heads really are trained, on
cached features, and each one really is ill.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from data_setup.base.html import Html, fill, join
from helpers.data.dataset import ImageData
from helpers.figures.style import BIG_PT, BLUE, GREY, MIDDLE_PT, RED, SMALL_PT, Drawing, new_figure
from helpers.learner import Learner
from helpers.lessons.heads import FeatureSet, HeadRun, hidden_head, logistic_head, train_head
from helpers.lessons.on_page import drawn
from helpers.lessons.pairing import Pairing, mixed, not_all
from helpers.models.folding import predicting
from helpers.review.widgets import SafeText, StaticWidget
from helpers.runtime.seeds import generator

LETTERS = "ABCDEFGH"
EPOCHS = 15
RATE = 1e-4  # healthy for the logistic head


@dataclass(frozen=True)
class Case:
    """One training: what is the matter with it, how one sees that, and what helps."""

    illness: str
    cause: str
    cure: str
    train: Callable[[FeatureSet, Tensor], HeadRun]  # the features, and validation features of wrong pixels (M, D)


def _logistic(features: FeatureSet, *, rate: float = RATE, epochs: int = EPOCHS) -> HeadRun:
    head = logistic_head(features.train.shape[1], len(features.classes))
    return train_head(head, features, rate=rate, epochs=epochs)


def _hidden(features: FeatureSet, *, rate: float) -> HeadRun:
    head = hidden_head(features.train.shape[1], len(features.classes))
    return train_head(head, features, rate=rate, epochs=EPOCHS)


def _with_shuffled_labels(features: FeatureSet) -> FeatureSet:
    order = torch.randperm(len(features.train_targets), generator=generator("clinic"))
    return replace(features, train_targets=features.train_targets[order])


def _with_few_photographs(features: FeatureSet) -> FeatureSet:
    return replace(features, train=features.train[::8], train_targets=features.train_targets[::8])


def _validated_on_training(features: FeatureSet) -> FeatureSet:
    return replace(features, valid=features.train[::3], valid_targets=features.train_targets[::3])


CASES = (
    Case(
        "healthy",
        "Both curves fall and flatten, and the held-out one stays a little above the other.",
        "Nothing to do. Look at the photographs it gets wrong.",
        lambda features, wrong: _logistic(features),
    ),
    Case(
        "rate too high",
        "The steps are longer than the valley is wide: the loss jumps about and stays high.",
        "Run the finder and take a tenth of the rate at the lowest point.",
        lambda features, wrong: _logistic(features, rate=1000 * RATE),
    ),
    Case(
        "rate too low",
        "Each step is so short that fifteen epochs hardly lead away from the start.",
        "A rate ten or a hundred times as high; the finder's curve is still flat at this one.",
        lambda features, wrong: _logistic(features, rate=RATE / 100),
    ),
    Case(
        "too few epochs",
        "Both curves still fall steeply when the training ends.",
        "Go on until the held-out curve is flat.",
        lambda features, wrong: _logistic(features, rate=RATE / 3, epochs=4),
    ),
    Case(
        "over-fitting",
        "Too many weights for too few photographs: the training curve falls to nothing, the held-out one turns up.",
        "More photographs, augmentation, dropout, or fewer epochs.",
        lambda features, wrong: _hidden(_with_few_photographs(features), rate=10 * RATE),
    ),
    Case(
        "labels shuffled",
        "Each photograph has some other one's label. That can be learned by heart, and is worth nothing on others: "
        "the answers there are no better than guessing.",
        "Look at twenty photographs with their labels, straight from the batch.",
        lambda features, wrong: _hidden(_with_shuffled_labels(features), rate=10 * RATE),
    ),
    Case(
        "wrong normalisation",
        "The held-out photographs came as 0 to 255 where the training ones came as 0 to 1. Training looks healthy, "
        "the held-out loss is absurd from the first epoch on.",
        "Print the smallest, largest and mean value of one batch of each part.",
        lambda features, wrong: _logistic(replace(features, valid=wrong)),
    ),
    Case(
        "training photographs in valid",
        "The two curves fall together without end, and the score is better than anybody reports for such data.",
        "Compare the two lists of files, also by content: a copy has another name.",
        lambda features, wrong: _hidden(_validated_on_training(features), rate=3 * RATE),
    ),
)


class Clinic(StaticWidget):
    """Eight training curves to be diagnosed: `Clinic(course_data(64))`.

    `.runs` is {illness: HeadRun}, `.letters` {letter in the figure: illness}. The order is always the same.
    """

    def __init__(self, data: ImageData, *, learn: Learner | None = None):
        learn = learn or Learner.pretrained(data)
        features = FeatureSet.of(learn)
        wrong = _features_of_wrong_pixels(learn)
        self.runs = {case.illness: case.train(features, wrong) for case in CASES}
        order = mixed(list(self.runs), "clinic")
        self.letters = dict(zip(LETTERS, order, strict=True))
        shown = {letter: self.runs[illness] for letter, illness in self.letters.items()}
        self.figure = plot_runs(shown, n_classes=len(data.classes))
        pairs = [(f"Curve {letter}", illness) for letter, illness in self.letters.items()]
        self.question = Pairing(
            "the diagnoses", pairs, self._answer, options=[case.illness for case in CASES], on_change=self._fold
        )
        self.answers = SafeText()
        self.answers.add_class("course-status")
        super().__init__([SafeText(fill("{figure}", figure=drawn(self.figure))), self.question, self.answers])

    def _fold(self) -> None:
        self.answers.value = fill("")

    def _answer(self, wrong: list[str]) -> None:
        if wrong:
            self.question.said.value = not_all(wrong, len(CASES))
        else:
            self.question.said.value = fill("<b>Right.</b> All eight. Here is why, and what helps:")
            self.answers.value = self._causes()

    def _causes(self) -> Html:
        case_of = {case.illness: case for case in CASES}
        return join(
            fill(
                "<p><b>{letter}: {illness}.</b> {cause} <em>What helps:</em> {cure}</p>",
                letter=letter,
                illness=illness,
                cause=case_of[illness].cause,
                cure=case_of[illness].cure,
            )
            for letter, illness in self.letters.items()
        )

    def face(self) -> tuple[str, Html]:
        """The curves and the names to choose from; diagnoses, causes and cures are folded."""
        names = ", ".join(sorted(self.runs))
        text = f"{self.figure.text} Which is which? Choose from: {names}."
        return text, fill(
            "<div>{curves}<p>Which is which? Choose from: {names}.</p>"
            "<details><summary>Diagnoses, causes and cures</summary>{causes}</details></div>",
            curves=drawn(self.figure),
            names=names,
            causes=self._causes(),
        )


def _features_of_wrong_pixels(learn: Learner) -> Tensor:
    """Pooled features (M, D) of the validation pictures with pixels of 0 to 255 instead of 0 to 1."""
    data, found = learn.data, []
    with predicting(learn.model, learn.device, learn.prediction_precision):
        for batch in data.eval_batches(data.indices_of("valid"), learn.device, 64):
            found.append(learn.model.features(255 * batch.inputs).float().cpu())
    return torch.cat(found)


def plot_runs(runs: Mapping[str, HeadRun], *, n_classes: int) -> Drawing:
    """Training (solid) and held-out loss (dashed) of each run, all on the same logarithmic axis."""
    figure = new_figure(4.6)
    panels = figure.subplots(2, -(-len(runs) // 2), sharex=True, sharey=True)
    for ax, (letter, run) in zip(panels.flat, runs.items(), strict=True):
        epochs = range(1, len(run.train_losses) + 1)
        ax.plot(epochs, run.train_losses, "-", color=BLUE, linewidth=2.2)
        ax.plot(epochs, run.valid_losses, "--", color=RED, linewidth=2.2)
        correct = f"{100 * run.train_accuracy:.0f} / {100 * run.valid_accuracy:.0f} %"
        ax.set_title(f"{letter}   {correct}", fontsize=MIDDLE_PT, loc="left")
        ax.axhline(math.log(n_classes), color=GREY, linewidth=0.8)
        ax.set_yscale("log")
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.minorticks_off()
        ax.set_xlim(0, EPOCHS + 1)
        ax.set_xticks([5, 10, 15])
        ax.tick_params(labelsize=SMALL_PT)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("epoch", fontsize=BIG_PT)
    figure.supylabel("loss (log axis)", fontsize=BIG_PT)
    figure.suptitle("training solid, held out dashed; correct on training / held out", fontsize=MIDDLE_PT)
    text = (
        f"{len(runs)} trainings, {', '.join(runs)}: training loss solid, held-out loss dashed, the grey line at the "
        f"loss of a coin, {math.log(n_classes):.2f}; above each panel the share of correct answers on training and "
        "held-out photographs."
    )
    detail = "; ".join(
        f"{letter} ends at {run.train_losses[-1]:.2f} and {run.valid_losses[-1]:.2f}" for letter, run in runs.items()
    )
    return Drawing(figure, text, f"{detail}.")
