"""The board: one row for each lesson's model, kept on disk, drawn at the end of each lesson with the latest step."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from filelock import FileLock

import data_setup
from data_setup.base.files import write_atomically
from data_setup.base.folders import explained
from data_setup.items import Item
from data_setup.lite.timings import cpu_name
from helpers.analysis.intervals import Interval
from helpers.analysis.predictions import Predictions
from helpers.figures.style import Drawing
from helpers.lessons.board_figure import draw_board
from helpers.lessons.chosen import THE_COURSES, kept_as, positive_of
from helpers.lessons.measure_words import MEASURES, table
from helpers.lessons.scoreboard import PRICES, Measures, gains, measures
from helpers.runtime.device import pick_device
from helpers.runtime.precision import fast_precision

LOCK_SECONDS = 20
DECIMALS = 6  # of a stored log probability


@dataclass(frozen=True)
class BoardRow:
    """A model on the board: what it is worth, and every answer it gave, so that a later one can be compared with it."""

    lesson: str
    model: str
    measures: Measures
    preds: Predictions
    groups: tuple[str, ...] | None  # of the photographs, when whole groups were drawn for the intervals
    positive: str | None
    seed: int
    processor: str
    precision: str

    @property
    def title(self) -> str:
        return f"{self.lesson} {self.model}"

    @property
    def photographs(self) -> tuple:
        """What two rows must share to be compared in pairs."""
        return self.positive, self.preds.classes, self.preds.targets.tolist(), [item.name for item in self.preds.items]


class Board:
    """`board.add("03", "head, 64 px", learn.get_preds())`, then `board.show()`.

    The file is COURSE_DATA/board.json, or board-NAME.json for another set, unless `path` names one.
    `.rows` are sorted by lesson.
    """

    def __init__(self, path: Path | str | None = None):
        self.path = Path(path) if path is not None else data_setup.home() / kept_as("board.json")
        self._latest: str | None = None  # the lesson that added a row last, here
        self._unkept: list[BoardRow] = []  # rows that could not be written so far

    @property
    def rows(self) -> list[BoardRow]:
        """Every model on the board, by lesson, then in the order of adding; none without a file.

        A damaged file is put aside, with a line that says so.
        """
        rows = {(row.lesson, row.model): row for row in [*self._stored(), *self._unkept]}
        return sorted(rows.values(), key=lambda each: each.lesson)

    def _stored(self) -> list[BoardRow]:
        if not self.path.is_file():
            return []
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))["rows"]
            return [_from_json(row) for row in stored]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            aside = self.path.with_name(f"damaged-{self.path.name}")
            with explained(self.path.parent):
                self.path.replace(aside)
            print(
                f"{self.path.name} was damaged ({type(error).__name__}) and is now {aside.name}; the board starts "
                "empty: run the lessons again whose models you want on it"
            )
            return []

    def add(
        self,
        lesson: str,
        model: str,
        preds: Predictions,
        *,
        positive: str | None = THE_COURSES,
        groups: Sequence | None = None,
        seed: int = 0,
    ) -> BoardRow:
        """Measure `preds` and keep them as the row of this lesson's model; the same two names replace an older row.

        A row that cannot be written (a full disk) is on the board all the same, with a line that says so, and is
        written with the next one.

        `positive` and `groups` as in `measures`; `seed` is the one the model was trained with.
        """
        groups = None if groups is None else tuple(map(str, groups))
        positive = positive_of(preds.classes, positive)
        device = pick_device()
        row = BoardRow(
            lesson,
            model,
            measures(preds, positive, groups),
            preds,
            groups,
            positive,
            seed,
            torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
            str(fast_precision(device, "depthwise")).removeprefix("torch."),  # all bodies of the course are
        )
        self._unkept = [old for old in self._unkept if (old.lesson, old.model) != (lesson, model)] + [row]
        self._latest = lesson
        try:
            with explained(self.path.parent), self._locked():
                self._write(self.rows)
            self._unkept.clear()
        except OSError as error:
            print(f"note: the board is complete here, but {self.path.name} is not kept: {error}")
        return row

    def step(self, row: BoardRow) -> tuple[BoardRow, Measures] | None:
        """The last row before this one on the same photographs, and the gains since; None when there is none."""
        rows = self.rows
        names = [(old.lesson, old.model) for old in rows]
        rows = rows[: names.index((row.lesson, row.model))]
        before = [old for old in rows if old.photographs == row.photographs]
        return (before[-1], gains(before[-1].preds, row.preds, row.positive, row.groups)) if before else None

    def lines(self, row: BoardRow) -> str:
        """The row in words: every measure with its interval, the step since the row before, and what it means."""
        step = self.step(row)
        since = f", steps since {step[0].title}" if step else ""
        head = f"{row.title}: {row.measures.n} photographs{since} (95 % confidence intervals)"
        return f"{head}\n{table(row.measures, step[1] if step else None, row.positive)}"

    def show(self, lesson: str | None = None) -> Drawing:
        """Print the rows of `lesson` (default: the one added to last, else the last there is) and draw all up to it."""
        rows = self.rows
        lesson = lesson or self._latest or (rows[-1].lesson if rows else "")
        rows = [row for row in rows if row.lesson <= lesson]
        for row in rows:
            if row.lesson == lesson:
                print(self.lines(row))
        sets = [row.photographs for row in rows]
        usual = max(sets, key=sets.count, default=None)  # rows of an older data set may come first
        return draw_board([(row.title, row.measures, row.photographs == usual) for row in rows])

    def export(self, path: Path | str) -> None:
        """Write the board without its probabilities: each measure as [estimate, low, high], and the step before it."""
        rows = [
            {
                "lesson": row.lesson,
                "model": row.model,
                "part": row.preds.part,
                **_numbers(row.measures),
                "since": step[0].title if step else None,
                "step": _numbers(step[1]) if step else None,
                "seed": row.seed,
                "processor": row.processor,
                "precision": row.precision,
            }
            for row in self.rows
            for step in [self.step(row)]
        ]
        with write_atomically(Path(path)) as temporary:
            temporary.write_text(json.dumps({"prices": PRICES._asdict(), "rows": rows}, indent=1) + "\n")

    def _write(self, rows: list[BoardRow]) -> None:
        with write_atomically(self.path) as temporary:
            temporary.write_text(json.dumps({"rows": [_to_json(row) for row in rows]}), encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock"), LOCK_SECONDS):
            yield


def no_model(preds: Predictions) -> Predictions:
    """What she has without a model, on the same photographs: for each of them the shares of the classes.

    Then 30 % of the photographs hold 30 % of the broken ones, and every one is worth a look.
    """
    counts = torch.bincount(preds.labelled().targets, minlength=len(preds.classes))
    shares = (counts / counts.sum()).log()
    return replace(preds, log_probs=shares.expand(len(preds.items), -1).clone())


def _numbers(record: Measures) -> dict:
    """The record for a file: n, and [estimate, low, high] of each measure to four digits behind the point."""
    intervals = {name: getattr(record, name) for name in MEASURES}
    return {"n": record.n} | {
        name: [round(number, 4) for number in (value.estimate, value.low, value.high)] if value else None
        for name, value in intervals.items()
    }


def _to_json(row: BoardRow) -> dict:
    preds = row.preds
    return {field.name: getattr(row, field.name) for field in fields(row) if field.name != "preds"} | {
        "measures": {name: asdict(value) for name in MEASURES if (value := getattr(row.measures, name))},
        "n": row.measures.n,
        "part": preds.part,
        "classes": preds.classes,
        "names": [item.name for item in preds.items],
        "targets": preds.targets.tolist(),
        "log_probs": [[round(number, DECIMALS) for number in each] for each in preds.log_probs.tolist()],
    }


def _from_json(stored: dict) -> BoardRow:
    classes, targets = tuple(stored["classes"]), stored["targets"]
    items = tuple(
        Item(name, Path(name), classes[target] if target >= 0 else None)
        for name, target in zip(stored["names"], targets, strict=True)
    )
    log_probs = torch.tensor(stored["log_probs"], dtype=torch.float32)
    preds = Predictions(items, log_probs, torch.tensor(targets), classes, stored["part"])
    intervals = {name: Interval(**value) for name, value in stored["measures"].items()}
    groups = None if stored["groups"] is None else tuple(stored["groups"])
    kept = {name: stored[name] for name in ("lesson", "model", "positive", "seed", "processor", "precision")}
    return BoardRow(measures=Measures(stored["n"], **intervals), preds=preds, groups=groups, **kept)
