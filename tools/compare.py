"""Compare a stored output with a new one: measured numbers within a tolerance, everything else to the letter.

Measured is every number after "≈" ("≈ 83.7 %", "≈ 80.7-86.3", "+≈ 4 of 100", "≈ [0.12, 0.88]") and every number with
exactly four decimals, as epoch tables print them. The tolerances are in notebooks/tolerances.toml. Two things are not
compared: durations ("1.2s"), because they depend on what else the machine is doing, and the bytes of pictures, because
they depend on the encoder; the pictures' alternative texts are compared.
"""

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.notebook_files import NOTEBOOKS

TOLERANCES = NOTEBOOKS / "tolerances.toml"
DEFAULTS = ("percent", "of", "share", "metric", "loss", "p", "seconds", "other")
PICTURES = ("image/png", "image/jpeg")
NOT_COMPARED = ("application/vnd.jupyter.widget-view+json",)  # its model ids are random

HIDDEN = re.compile(r"[ \t]*\b\d+\.\ds\b|data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+")
SPACE = r"(?:[ \t\u00a0\u202f]|&nbsp;)"
NUMBER = r"(?:[-−+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?|nan\b|inf\b))"
MARK = re.compile(rf"(?P<sign>[-−+]?)≈{SPACE}*(?P<list>\[)?{SPACE}*(?P<number>{NUMBER})")
SECOND = re.compile(rf"(?:{SPACE}?%)?(?:{SPACE}*[-–±]{SPACE}*|{SPACE}+to{SPACE}+)(?P<number>{NUMBER})")
BETWEEN = re.compile(rf"(?:{SPACE}?%)?{SPACE}+and{SPACE}+(?P<number>{NUMBER})")
IN_LIST = re.compile(rf"{SPACE}*,{SPACE}*(?P<number>{NUMBER})")
UNIT = re.compile(
    rf"(?:(?:{SPACE}*[-–±]{SPACE}*|{SPACE}+(?:to|and){SPACE}+){NUMBER})?{SPACE}*"
    r"(?:(?P<percent>%|(?:percentage )?points?\b)|of (?P<n>[\d,]*\d)|(?P<seconds>(?:s|seconds?|minutes?)\b))"
)
# what stands before the bounds of an interval, and before the step since another value
CARRIES_ON = re.compile(r"(?:interval|\(|\bstep|\bto)\W*$")
FOUR_DECIMALS = re.compile(r"(?P<number>(?<![\w.,≈])(?:(?<!\d)[-−])?\d+\.\d{4}(?![\w/]|\.\d))")
LINE_ENDS = re.compile(r"\n|(?<=</tr>)|(?<=</p>)|(?<=</li>)|(?<=</div>)")


@dataclass(frozen=True)
class Tolerance:
    """How far a new value may lie from the stored one."""

    size: float
    kind: str  # "absolute", "relative" (a share of the stored value) or "factor"
    name: str  # the entry it comes from

    def allows(self, stored: float, new: float, *, unit: float = 0.0) -> bool:
        """Whether `new` is near enough. `unit`, that of the last digit printed, is always allowed."""
        if not (math.isfinite(stored) and math.isfinite(new)):
            return stored == new or (math.isnan(stored) and math.isnan(new))
        apart = abs(new - stored)
        if apart <= unit * (1 + 1e-9):
            return True
        if self.kind == "factor":
            low, high = sorted((abs(stored), abs(new)))
            return stored * new > 0 and high <= self.size * low * (1 + 1e-9)
        return apart <= (self.size * abs(stored) if self.kind == "relative" else self.size) * (1 + 1e-9)

    def __str__(self) -> str:
        sizes = {"absolute": f"± {self.size:g}", "relative": f"± {100 * self.size:g} %", "factor": f"x {self.size:g}"}
        return f"{sizes[self.kind]} ({self.name})"


@dataclass(frozen=True)
class Tolerances:
    """Those of one lesson: its own by phrase, and the defaults by unit."""

    defaults: Mapping[str, Tolerance]
    phrases: Mapping[str, Tolerance]


@dataclass(frozen=True)
class Measured:
    """One measured number of a line."""

    start: int
    end: int
    text: str  # with the sign that stands before ≈
    tolerance: Tolerance

    @property
    def value(self) -> float:
        return _value(self.text)

    @property
    def unit(self) -> float:
        """What one step of the last printed digit is worth: 0.1 for 83.7, 100 for 1.2e3."""
        digits, _, exponent = self.text.partition("e")
        return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


@dataclass(frozen=True)
class Difference:
    """What is not as stored, in words."""

    line: int  # in its output, from 1
    what: str
    stored: str
    new: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}\n    stored: {self.stored.strip()}\n    new:    {self.new.strip()}"


def tolerances_of(name: str, path: Path = TOLERANCES) -> Tolerances:
    """What holds for the notebook called `name` ("03_augmentation"); ValueError for an entry that cannot be read."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    given = entries.pop("defaults", {})
    if set(given) != set(DEFAULTS):
        raise ValueError(f"{path.name}: [defaults] needs exactly {', '.join(DEFAULTS)}; got {', '.join(given)}")
    wrong = [section for section in entries if not re.fullmatch(r"lesson_\d\d[a-z]?", section)]
    if wrong:
        raise ValueError(f"{path.name}: a section is called [lesson_03]; got {', '.join(wrong)}")
    own = entries.get(f"lesson_{name.partition('_')[0]}", {})
    return Tolerances(
        {unit: _tolerance(size, unit) for unit, size in given.items()},
        {phrase: _tolerance(size, f'"{phrase}"') for phrase, size in own.items()},
    )


def _tolerance(size: float | str, name: str) -> Tolerance:
    """4 is absolute, "15 %" relative, "x 3" a factor."""
    if isinstance(size, int | float):
        return Tolerance(float(size), "absolute", name)
    if found := re.fullmatch(r"(\d+(?:\.\d+)?) %", str(size)):
        return Tolerance(float(found[1]) / 100, "relative", name)
    if found := re.fullmatch(r"x (\d+(?:\.\d+)?)", str(size)):
        return Tolerance(float(found[1]), "factor", name)
    raise ValueError(f'a tolerance is written 4, "15 %" or "x 3"; {name} has {size!r}')


def differences(stored: Sequence, new: Sequence, tolerances: Tolerances) -> list[str]:
    """What differs between two lists of outputs (nbformat), in words; [] when nothing does.

    Outputs of different kinds may change places, as they do between two runs; those of one kind may not.
    """
    before, now = _texts_by_kind(stored), _texts_by_kind(new)
    found = []
    for kind in before | now:
        counts = len(before[kind]), len(now[kind])
        if counts[0] != counts[1]:
            found.append(f"{kind}: {counts[0]} outputs are stored, the new run made {counts[1]}")
            continue
        for old_text, new_text in zip(before[kind], now[kind], strict=True):
            found += [f"{kind}, {difference}" for difference in compare_texts(old_text, new_text, tolerances)]
    return found


def _texts_by_kind(outputs: Iterable) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for output in outputs:
        if output["output_type"] == "stream":
            texts[output["name"]].append(output["text"])
        elif output["output_type"] == "error":
            texts["error"].append(f"{output['ename']}: {output['evalue']}")
        for kind, value in output.get("data", {}).items():
            if kind not in NOT_COMPARED:
                texts[kind].append("" if kind in PICTURES else str(value))
    return texts


def compare_texts(stored: str, new: str, tolerances: Tolerances) -> list[Difference]:
    """Every line of `new` that is not as in `stored`; when lines are missing or added, only the first of them."""
    before, now = lines_of(stored), lines_of(new)
    if len(before) != len(now):
        pairs = zip(before, now, strict=False)
        shorter = min(len(before), len(now))
        at = next((number for number, (old, fresh) in enumerate(pairs) if _words(old) != _words(fresh)), shorter)
        old, fresh = (lines[at] if at < len(lines) else "(nothing)" for lines in (before, now))
        return [Difference(at + 1, f"{len(before)} lines are stored, there are {len(now)} now", old, fresh)]
    found, head = [], ""
    for number, (old, fresh) in enumerate(zip(before, now, strict=True), start=1):
        head = old if is_epoch_head(old) else head
        what = _difference(old, fresh, head, tolerances)
        found += [Difference(number, what, old, fresh)] if what else []
    return found


def lines_of(text: str) -> list[str]:
    """Lines as a reader sees them (in HTML a row, a paragraph or an item is one), without what is hidden."""
    return [HIDDEN.sub(" HIDDEN", line) for line in LINE_ENDS.split(text)]


def _words(line: str) -> str:
    return re.sub(r"[\d.,\s]+", " ", line)


def is_epoch_head(line: str) -> bool:
    """Whether a line holds the names of an epoch table's columns."""
    return line.split()[:1] == ["epoch"]


def _difference(old: str, fresh: str, head: str, tolerances: Tolerances) -> str:
    """What differs between two lines, in words; "" when nothing does."""
    measured, again = measured_in(old, tolerances, head), measured_in(fresh, tolerances, head)
    if _around(old, measured) != _around(fresh, again):
        return "the text differs" + (" around the measured numbers" if measured else "")
    beyond = [
        f"stored {was.text}, now {now.text}; the tolerance is {was.tolerance}"
        for was, now in zip(measured, again, strict=True)
        if not was.tolerance.allows(was.value, now.value, unit=was.unit)
    ]
    return "; ".join(beyond)


def _around(line: str, measured: list[Measured]) -> list[str]:
    """The text between the measured numbers. In such a line the number of blanks follows from the numbers' widths."""
    if not measured:
        return [line]
    ends = [0, *(number.end for number in measured)]
    starts = [*(number.start for number in measured), len(line)]
    return [" ".join(line[end:start].split()) for end, start in zip(ends, starts, strict=True)]


def measured_in(line: str, tolerances: Tolerances, head: str = "") -> list[Measured]:
    """The measured numbers of one line, from left to right; `head` is the last heading of an epoch table above it."""
    spans = [*_marked(line), *(_Span(*found.span(), found[0]) for found in FOUR_DECIMALS.finditer(line))]
    numbers: list[Measured] = []
    for span in sorted(spans, key=lambda span: span.start):
        if numbers and span.start < numbers[-1].end:
            continue  # four decimals after ≈, found already
        tolerance = numbers[-1].tolerance if span.continues else _tolerance_of(line, span, numbers, head, tolerances)
        numbers.append(Measured(span.start, span.end, span.text, tolerance))
    return numbers


@dataclass(frozen=True)
class _Span:
    """Where a measured number stands in its line."""

    start: int
    end: int
    text: str
    continues: bool = False  # the second number of a range, or a later one of a list


def _marked(line: str) -> Iterable[_Span]:
    """The numbers after each ≈: one, a range, or a list in brackets."""
    for mark in MARK.finditer(line):
        sign = mark["sign"] if mark["number"][0] not in "+-−" else ""
        yield _Span(mark.start("sign" if sign else "number"), mark.end(), sign + mark["number"])
        if mark["list"]:
            more = IN_LIST
        elif line[: mark.start()].rstrip().endswith("between"):
            more = BETWEEN
        else:
            more = SECOND
        end = mark.end()
        while found := more.match(line, end):
            yield _Span(*found.span("number"), found["number"], continues=True)
            end = found.end()


def _tolerance_of(line: str, span: _Span, earlier: list[Measured], head: str, tolerances: Tolerances) -> Tolerance:
    """That of the longest phrase right before the number, or else in its line; else the default for what it counts."""
    before = line[: span.end].removesuffix(span.text.lstrip("+-−")).rstrip(" +-−[")
    at_hand = [phrase for phrase in tolerances.phrases if phrase.endswith("≈") and before.endswith(phrase)]
    in_line = [phrase for phrase in tolerances.phrases if not phrase.endswith("≈") and _stands_in(phrase, line)]
    if fitting := at_hand or in_line:
        return tolerances.phrases[max(fitting, key=len)]
    defaults, since = tolerances.defaults, line[earlier[-1].end if earlier else 0 : span.start]
    column = _column(line, span, head)
    after = UNIT.match(line, span.end)
    share = "." in span.text and abs(_value(span.text)) <= 1
    if column:
        return defaults["loss" if "loss" in column else "metric"]
    if after and after["n"] and not share:
        of = defaults["of"]
        return replace(of, size=of.size * _value(after["n"]), name=f"of: {of.size:g} of {after['n']}")
    if after and (after["percent"] or after["seconds"]):
        return defaults["percent" if after["percent"] else "seconds"]
    if earlier and (CARRIES_ON.search(since) or "≈" in line[span.start : span.end]):  # +≈ 4
        return _of_its_neighbour(earlier[-1])
    if re.search(r"\bp( =)?$", before.rstrip(" ≈")):
        return defaults["p"]
    if "loss" in since:
        return defaults["loss"]
    return defaults["share" if share else "other"]


def _stands_in(phrase: str, line: str) -> bool:
    """Whether the parts of a phrase, "cost…better", stand in the line in this order."""
    return re.search(".*".join(map(re.escape, phrase.split("…"))), line) is not None


def _of_its_neighbour(number: Measured) -> Tolerance:
    """What a bound or a step may differ by: as much as the value it belongs to, not a share of the small step."""
    tolerance = number.tolerance
    if tolerance.kind != "relative":
        return tolerance
    return replace(tolerance, size=tolerance.size * abs(number.value), kind="absolute")


def _column(line: str, span: _Span, head: str) -> str:
    """What the number's column is called in an epoch table; "" when the line is not a row of one."""
    columns = head.split()
    if len(columns) != len(line.split()) or not re.match(r"\s*\d+\s", line):
        return ""
    return columns[len(line[: span.start].split())]


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))
