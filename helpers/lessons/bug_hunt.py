"""Bug hunt: for each lesson a few lines that run, give a number, and are wrong.

`BugHunt("02")` shows the lines and the symptom, measured. Copy them, repair them, and `caught("02", repaired)` measures
the symptom again: it asks what the code does, never how it is written.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from data_setup.base.arguments import closest
from data_setup.base.html import Html, fill
from helpers.lessons import wrong_lines as wrong
from helpers.lessons.checks.verdict import Settled, Verdict, not_yet, outcome, right, unfinished
from helpers.lessons.quiz_questions import code_block
from helpers.runtime.seeds import generator, seeded


@dataclass(frozen=True)
class Bug:
    """Lines that run and are wrong, and how one sees it."""

    story: str  # what they are meant to do
    lines: Callable  # the function, as a learner copies it
    symptom: Callable[[Callable], str | None]  # what is wrong with a function, measured; None when nothing is
    moral: str  # what is said to whoever has repaired it: where else it happens, how to notice
    imports: str = ""  # what the lines need before them

    @property
    def source(self) -> str:
        """The lines as text."""
        return "\n\n".join(filter(None, [self.imports, inspect.getsource(self.lines).rstrip()]))


def _kinds_of_names(kind_of: Callable) -> str | None:
    names = [
        "mono_functional_0004.png",
        "mono_defective_0010.png",
        "poly_functional_0174.png",
        "poly_defective_0091.png",
    ]
    found = sorted({str(outcome(kind_of, name)) for name in names})
    return None if found == ["mono", "poly"] else f"four names give {len(found)} kinds: {', '.join(found)}"


def _share_of_functional(share_correct: Callable) -> str | None:
    predicted, targets = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1])
    value = float(outcome(share_correct, predicted, targets))
    return None if abs(value - 0.75) < 1e-6 else f"3 of 4 answers are correct, and it says {100 * value:.0f} %"


def _loss_of_a_sure_answer(loss_of: Callable) -> str | None:
    logits, targets = torch.tensor([[30.0, -30.0], [-30.0, 30.0]]), torch.tensor([0, 1])
    value = float(outcome(loss_of, logits, targets))
    if value < 0:
        return f"two answers cost {value:.3g}, less than nothing: it adds up what are no logarithms of probabilities"
    return None if value < 0.01 else f"two answers, both right and as sure as can be, still cost {value:.3f}"


def _validation_moves(batch_for: Callable) -> str | None:
    images = torch.rand(64, 3, 8, 8, generator=generator("bug hunt", 3))
    rng = generator("bug hunt", "flips")
    if not torch.equal(outcome(batch_for, images.clone(), False, rng), images):
        return "held-out photographs come back changed, so their score is another one each time"
    return _coins_of(batch_for, images, rng)


def _coins_of(batch_for: Callable, images: torch.Tensor, rng: torch.Generator) -> str | None:
    """What is wrong with the coins that mirror training photographs: each should have one of its own."""
    counts = []
    for _ in range(6):
        seen = outcome(batch_for, images.clone(), True, rng)
        mirrored = (seen == images.flip(-1)).flatten(1).all(1)
        if not torch.all(mirrored | (seen == images).flatten(1).all(1)):
            return "a training photograph comes back neither as it was nor mirrored"
        counts.append(int(mirrored.sum()))
    if set(counts) == {0}:
        return "now training photographs are not augmented either"
    if set(counts) <= {0, len(images)}:
        return "a training batch comes back mirrored as a whole or not at all: its photographs share one coin"
    share = sum(counts) / (len(counts) * len(images))
    return None if 0.35 < share < 0.65 else f"{100 * share:.0f} % of the training photographs are mirrored, not half"


def _body_does_not_move(optimizer_for: Callable) -> str | None:
    with seeded("bug hunt", 4):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = outcome(optimizer_for, model)
    F.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 0])).backward()
    optimizer.step()
    moved = [not torch.equal(weight, old) for weight, old in zip(model.parameters(), before, strict=True)]
    return (
        None if all(moved[:2]) and all(moved[2:]) else "after a step of the whole network its first layer has not moved"
    )


def _normalised_twice(prepare: Callable) -> str | None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    images = outcome(prepare, pixels)
    mean, low, high = float(images.mean()), float(images.min()), float(images.max())
    fits = abs(mean) < 0.05 and abs(low + 127 / 128) < 0.05 and abs(high - 1) < 0.05
    wrapped = " (bytes have no numbers below 0)" if low >= 0 else ""
    found = f"pixels of 0 to 255 become {low:.2f} to {high:.2f}, mean {mean:.2f}{wrapped}"
    return None if fits else f"{found}; wanted: -1 to 1, mean 0"


def _views_do_not_add_up(mean_of_views: Callable) -> str | None:
    logits = torch.tensor([[[4.0, 0.0]], [[-2.0, 0.0]], [[6.0, 0.0]]])  # three views of one photograph
    probs = outcome(mean_of_views, logits.log_softmax(dim=-1))
    total = float(probs.sum())
    if abs(total - 1) > 1e-5:
        return f"the probabilities of one photograph add up to {total:.3f}"
    fits = torch.allclose(probs, logits.softmax(dim=-1).mean(dim=0), atol=1e-5)
    return None if fits else "they add up to 1 now, but are not the mean of the views' probabilities"


def _found_is_not_precision(found_of: Callable) -> str | None:
    alarm, broken = torch.ones(100, dtype=torch.bool), torch.arange(100) < 32
    value = float(outcome(found_of, alarm, broken))
    if abs(value - 1) > 1e-6:
        return f"an alarm for every photograph finds all that are broken, and it says {100 * value:.0f} %"
    few = float(outcome(found_of, torch.arange(100) < 8, broken))
    return None if abs(few - 0.25) < 1e-6 else f"8 of 32 broken ones were found, and it says {100 * few:.0f} %"


def _gradients_grow(gradient_of: Callable) -> str | None:
    inputs, targets = torch.randn(8, 3, generator=generator("bug hunt", 8)), torch.arange(8) % 2
    with seeded("bug hunt", 8):
        model = nn.Linear(3, 2)
    F.cross_entropy(model(inputs), targets).backward()
    wanted = model.weight.grad.norm()
    model.zero_grad()
    outcome(gradient_of, model, list(zip(inputs.split(2), targets.split(2), strict=True)))
    ratio = float(model.weight.grad.norm() / wanted)
    return (
        None if abs(ratio - 1) < 1e-4 else f"four quarters give a gradient {ratio:.2f} times as long as the whole batch"
    )


def _copies_on_both_sides(split_of: Callable) -> str | None:
    files = [(f"{number:03}.png", number) for number in range(40)]
    files += [(f"{number:03} (copy).png", number) for number in range(0, 40, 5)]
    train, valid = outcome(split_of, files)
    if len(train) + len(valid) != len(files) or not valid:
        return f"{len(files)} files went in, and {len(train)} and {len(valid)} came out"
    contents = {content for _, content in train}
    both = sum(content in contents for _, content in valid)
    return None if both == 0 else f"{both} of {len(valid)} held-out files have a copy among the training ones"


def _mean_of_means(loss_over: Callable) -> str | None:
    batches = [torch.full((64,), 0.5), torch.full((64,), 0.5), torch.full((2,), 5.0)]
    wanted = float(torch.cat(batches).mean())
    value = float(outcome(loss_over, batches))
    return (
        None
        if abs(value - wanted) < 1e-4
        else f"the mean over all photographs is {wanted:.2f}, and it says {value:.2f}"
    )


BUGS = {
    "00": Bug(
        "The kind of crystal, mono or poly, from a file's name.",
        wrong.kind_of,
        _kinds_of_names,
        "a plus takes all it can get. Print the set of labels whenever you make some: you see at a glance when there "
        "are too many.",
        imports="import re",
    ),
    "01": Bug(
        "The share of correct answers.",
        wrong.share_correct,
        _share_of_functional,
        "a share above 100 % gives itself away; one below looks like a result. Try a measure on four answers by hand.",
    ),
    "02": Bug(
        "The loss of a batch of scores.",
        wrong.loss_of,
        _loss_of_a_sure_answer,
        "the loss has its own softmax. Such a network still learns, only slowly: what gives it away is that a sure and "
        "right answer still costs something.",
        imports="import torch.nn.functional as F",
    ),
    "03": Bug(
        "A batch for training or validation; for each training photograph a coin decides whether it is mirrored.",
        wrong.batch_for,
        _validation_moves,
        "ask for the validation score twice: with augmentation there, it changes though nothing was trained.",
        imports="import torch",
    ),
    "04": Bug(
        "An optimizer for the whole network, after its first layer was frozen for a while.",
        wrong.optimizer_for,
        _body_does_not_move,
        "an optimizer keeps the list it was given. Compare weights before and after a step, layer by layer.",
        imports="from helpers.lessons import AdamW",
    ),
    "05": Bug(
        "Pixels of 0 to 255, normalised with mean 127 and standard deviation 128.",
        wrong.prepare,
        _normalised_twice,
        "two libraries that each normalise lead here. Print the mean, least and largest value of a batch.",
    ),
    "06": Bug(
        "The mean probability over several views, from log probabilities (views, N, classes).",
        wrong.mean_of_views,
        _views_do_not_add_up,
        "the mean of logarithms is the logarithm of another mean, the geometric one. Sum a row: it must be 1.",
    ),
    "07": Bug(
        "The share of the broken photographs that get an alarm.",
        wrong.found_of,
        _found_is_not_precision,
        "that was the precision, of which one can have much by hardly ever raising an alarm. Say what you divide by.",
    ),
    "08": Bug(
        "The gradient of a large batch, a part at a time because the memory is small.",
        wrong.gradient_of,
        _gradients_grow,
        "backward() adds up. Without the division four parts are a rate four times as high, and Adam hides it.",
        imports="import torch.nn.functional as F",
    ),
    "09": Bug(
        "A split of (name, content) pairs: every fifth file validates.",
        wrong.split_of,
        _copies_on_both_sides,
        "a copy has another name and the same content. What belongs together, copies, neighbours, one patient, stays "
        "on one side.",
    ),
    "10": Bug(
        "The mean loss of an epoch from batches of losses.",
        wrong.loss_over,
        _mean_of_means,
        "the last batch is short, and so is the share of a slow worker. Add up sums and counts, divide once.",
    ),
}


def bug_of(lesson: str) -> Bug:
    """The bug of a lesson. Raises ValueError naming the lessons that have one."""
    if lesson not in BUGS:
        raise ValueError(f"no bug hunt is called {lesson!r}; {closest(lesson, BUGS)}")
    return BUGS[lesson]


class BugHunt:
    """The lines of a lesson's bug hunt and their symptom, shown in a notebook: `BugHunt("02")`."""

    def __init__(self, lesson: str):
        self.lesson, self.bug = lesson, bug_of(lesson)
        self.symptom = self.bug.symptom(self.bug.lines)

    def __repr__(self) -> str:
        return f"{self.bug.story} These lines run, and are wrong:\n\n{self.bug.source}\n\nThe symptom: {self.symptom}."

    def _repr_html_(self) -> Html:
        return fill(
            "<p>{story} These lines run, and are wrong:</p>{code}<p>The symptom: {symptom}.</p>",
            story=self.bug.story,
            code=code_block(self.bug.source),
            symptom=self.symptom,
        )


def caught(lesson: str, repaired: Callable) -> Verdict:
    """Whether the symptom is gone. Never raises for what the learner's code does."""
    bug = bug_of(lesson)
    try:
        symptom = bug.symptom(repaired)
        verdict = right(bug.moral) if symptom is None else not_yet(f"the symptom is still there: {symptom}.")
    except Settled as early:
        open_yet = unfinished("copy the lines, repair them and pass the function.")
        verdict = early.verdict if early.verdict.message else open_yet
    except Exception as error:  # whatever came, the lesson goes on
        verdict = not_yet(f"what it returned cannot be checked ({type(error).__name__}: {error}).")
    return verdict.titled(f"bug hunt {lesson}")
