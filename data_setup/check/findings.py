"""What one file alone shows, a rule for each kind of trouble: facts of the files in, findings out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from data_setup.base.pictures import MAX_PIXELS
from data_setup.check.reading import ANIMATED, Facts

SEVERITIES = ("serious", "warning", "note")  # serious: training stops, or its figures are wrong
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
BLANK_LEVELS = 4  # of grey, from the darkest to the lightest pixel
TINY_PX = 32  # a side: most networks halve a picture five times


@dataclass(frozen=True)
class Case:
    """One file or folder, or several that belong together."""

    names: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of trouble, every case of it, and what to do about it."""

    kind: str  # a word for programs: "truncated"
    severity: str  # one of SEVERITIES
    title: str  # for people: "cut off"
    fix: str
    cases: tuple[Case, ...]


def finding(kind: str, severity: str, title: str, fix: str, cases: Iterable[Case]) -> list[Finding]:
    """A list of one finding, or of none when there is no case."""
    cases = tuple(cases)
    return [Finding(kind, severity, title, fix, cases)] if cases else []


@dataclass(frozen=True)
class Rule:
    """A kind of trouble that one file has or has not."""

    kind: str
    severity: str
    title: str
    fix: str
    applies: Callable[[Facts], bool]
    text: Callable[[Facts], str]

    def __call__(self, facts: Iterable[Facts]) -> list[Finding]:
        cases = (Case((one.name,), self.text(one)) for one in facts if self.applies(one))
        return finding(self.kind, self.severity, self.title, self.fix, cases)


def _kind(name: str) -> Callable[[Facts], bool]:
    return lambda one: one.kind == name


def _reason(one: Facts) -> str:
    return one.reason


def _size(one: Facts) -> str:
    return f"{one.width} x {one.height} pixels"


def _has_other_suffix(one: Facts) -> bool:
    return bool(one.format) and PurePosixPath(one.name).suffix.lower() not in SUFFIXES[one.format]


def _is_picture(applies: Callable[[Facts], bool]) -> Callable[[Facts], bool]:
    return lambda one: one.kind == "picture" and applies(one)


AGAIN = "get it again from where it came, or move it out of the way: --quarantine"
RULES = (
    Rule("unreadable", "serious", "cannot be read", AGAIN, _kind("unreadable"), _reason),
    Rule("truncated", "serious", "cut off or damaged", AGAIN, _kind("truncated"), _reason),
    Rule("crash", "serious", "reading it crashes or hangs", AGAIN, _kind("crash"), _reason),
    Rule(
        "huge",
        "serious",
        f"more than {MAX_PIXELS // 1_000_000} million pixels, which is refused",
        "save it smaller; --quarantine moves it out of the way",
        _kind("huge"),
        _size,
    ),
    Rule(
        "broken link",
        "serious",
        "a link that leads nowhere",
        "put back the file that it names, or delete the link; --quarantine moves it out of the way",
        _kind("broken link"),
        _reason,
    ),
    Rule(
        "foreign",
        "warning",
        "a picture in a format that is not read, and left out",
        "convert it to JPEG or PNG",
        _kind("foreign"),
        _reason,
    ),
    Rule(
        "suffix",
        "warning",
        "the name claims another format",
        "rename it: this kit reads by content, other programs may not",
        _has_other_suffix,
        lambda one: f"is a {one.format}",
    ),
    Rule(
        "animated",
        "warning",
        "animated: only the first frame is used",
        "keep it if that frame shows the class, else save the right frame as a picture of its own",
        _is_picture(lambda one: one.frames > 1 and one.format in ANIMATED),
        lambda one: f"{one.frames} frames",
    ),
    Rule(
        "stack",
        "warning",
        "a TIFF with several pages: only the first is used",
        "save each page that you need as a picture of its own; keep pages of one stack in one part of the split",
        _is_picture(lambda one: one.frames > 1 and one.format == "TIFF"),
        lambda one: f"{one.frames} pages",
    ),
    Rule(
        "cmyk",
        "warning",
        "CMYK colours, made for printing",
        "save it as RGB; as it is, colours are converted without its colour profile",
        _is_picture(lambda one: one.mode == "CMYK"),
        _size,
    ),
    Rule(
        "16-bit",
        "warning",
        "more than 8 bits a channel",
        "it is scaled to 8 bits with 65535 as white: if it comes out dark, stretch it and save it with 8 bits",
        _is_picture(lambda one: one.deep),
        lambda one: f"mode {one.mode}",
    ),
    Rule(
        "tiny",
        "warning",
        f"a side of less than {TINY_PX} pixels",
        "get the original; enlarging adds no detail",
        _is_picture(lambda one: min(one.width, one.height) < TINY_PX),
        _size,
    ),
    Rule(
        "blank",
        "warning",
        "almost one colour everywhere",
        "look at it, and delete it if nothing is on it",
        _is_picture(lambda one: one.spread <= BLANK_LEVELS),
        _size,
    ),
    Rule(
        "turned",
        "note",
        "turned by a mark in its EXIF data",
        "nothing: this kit turns it upright; a program that does not will see it lying",
        _is_picture(lambda one: one.orientation not in (0, 1)),
        lambda one: f"orientation {one.orientation}",
    ),
)


def of_files(facts: Iterable[Facts]) -> list[Finding]:
    """Everything that files show one by one, in the order of the rules."""
    facts = list(facts)
    return [found for rule in RULES for found in rule(facts)]
