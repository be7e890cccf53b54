"""What was found, in words: a summary for the terminal, a page with the pictures, a JSON file for programs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from data_setup.base import html
from data_setup.base.files import write_atomically
from data_setup.base.pictures import UnreadableImage
from data_setup.base.text import counted, printable
from data_setup.check.findings import SEVERITIES, Finding
from data_setup.check.workers import Lost, answers

EXAMPLES, SHOWN = 3, 24  # cases of a finding in the summary, and on the page
PICTURES_A_CASE = 4
THUMBNAIL_PX = 128


@dataclass(frozen=True)
class Report:
    """A folder and everything that was found in it."""

    folder: Path
    formats: Counter  # of the pictures that can be read, by content
    files: int
    bytes: int
    parts: Counter  # pictures a part; None: not split
    classes: Counter  # pictures a class
    findings: tuple[Finding, ...]  # the most serious first
    offenders: tuple[str, ...]  # what --quarantine would move
    seconds: float

    @property
    def n_serious(self) -> int:
        """Findings that training would stop at, or that make its figures wrong."""
        return sum(finding.severity == "serious" for finding in self.findings)

    @property
    def headline(self) -> str:
        kinds = ", ".join(f"{count:,} {name}" for name, count in self.formats.most_common())
        shown = {"train": "training", "valid": "validation", "test": "test"}
        parts = ", ".join(f"{self.parts[part]:,} {shown[part]}" for part in shown if self.parts[part])
        words = [
            f"{counted(self.files, 'file')} of {self.bytes / 1e6:,.1f} MB",
            f"{counted(self.formats.total(), 'picture')} can be read" + (f" ({kinds})" if kinds else ""),
            counted(len(self.classes), "class"),
            parts,
            f"{self.seconds:.1f} s",
        ]
        return "; ".join(filter(None, words))

    @property
    def verdict(self) -> str:
        n = Counter(finding.severity for finding in self.findings)
        if not n:
            return "nothing found"
        words = [f"{n['serious']:,} serious"] * (n["serious"] > 0)
        words += [counted(n[severity], severity) for severity in SEVERITIES[1:] if n[severity]]
        return ", ".join(words)


def summary(report: Report) -> str:
    """Counts, then every finding with up to three examples and its fix."""
    lines = [f"{report.folder}: {report.headline}", ""]
    for finding in report.findings:
        lines.append(f"{finding.severity}: {finding.title} ({len(finding.cases):,})")
        lines += [f"    {described(case)}" for case in finding.cases[:EXAMPLES]]
        if len(finding.cases) > EXAMPLES:
            lines.append(f"    and {len(finding.cases) - EXAMPLES:,} more")
        lines += [f"    fix: {finding.fix}", ""]
    return "\n".join(printable(line) for line in [*lines, report.verdict])


def described(case) -> str:
    names = " = ".join(case.names[:PICTURES_A_CASE]) + (" = ..." if len(case.names) > PICTURES_A_CASE else "")
    return ": ".join(filter(None, [names, case.text]))


def write(report: Report, out: Path, *, processes: int) -> tuple[Path, Path]:
    """report.html, one file that needs no network, and report.json in the folder `out`; nothing else is written."""
    shown = [
        name for finding in report.findings for case in finding.cases[:SHOWN] for name in case.names[:PICTURES_A_CASE]
    ]
    pictures = thumbnails(report.folder, shown, processes=processes)
    limits = {"SHOWN": SHOWN, "PICTURES_A_CASE": PICTURES_A_CASE, "SEVERITIES": SEVERITIES}
    template = html.page(Path(__file__).with_name("report.html"), counted=counted, **limits)
    text = template.render(report=report, pictures=pictures)
    known = {
        "folder": str(report.folder),
        "files": report.files,
        "bytes": report.bytes,
        "formats": report.formats,
        "parts": {str(part): count for part, count in report.parts.items() if part},
        "classes": report.classes,
        "serious": report.n_serious,
        "findings": [asdict(finding) for finding in report.findings],
    }
    files = out / "report.html", out / "report.json"
    for file, content in zip(files, (text, json.dumps(known, indent=1) + "\n"), strict=True):
        with write_atomically(file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return files


def thumbnails(folder: Path, names: Iterable[str], *, processes: int) -> dict[str, str]:
    """Name -> address of a small JPEG inside a page, for the files that show something."""
    tasks = [(folder, name) for name in dict.fromkeys(names)]
    made = {}
    for (_, name), address in answers(thumbnail, tasks, processes=min(processes, len(tasks))):
        if address and not isinstance(address, Lost):
            made[name] = address
    return made


def thumbnail(folder: Path, name: str) -> str:
    """The picture as a "data:" address; "" for one that cannot be read."""
    try:
        return html.thumbnail(folder / name, THUMBNAIL_PX)
    except UnreadableImage:
        return ""
