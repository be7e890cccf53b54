"""The licences of everything the learner's lock installs: `python -m tools.licences` writes THIRD_PARTY.md.

A licence that asks more than to be named in the notices needs a word in licences.toml, which says why it is fine.
"""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from tools.notebook_files import ROOT, run_cli

FILE = ROOT / "THIRD_PARTY.md"
KNOWN = Path(__file__).with_name("licences.toml")
HEAD = """# What the kit installs, and under which licence

Made by `make licences` from the metadata of the packages in requirements.lock as they are installed on Linux. None of
them is part of this repository. "-": for other systems only, not installed where this list was made.

| package | licence | a word on it |
|---|---|---|
"""


def locked(lock: Path = ROOT / "requirements.lock") -> list[str]:
    """The names of all packages in a lock, sorted."""
    return sorted(set(re.findall(r"^([A-Za-z0-9][\w.-]*)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)))


def licence_of(package: str) -> str:
    """As the installed package states it: expression, classifiers or the text's first line; "-": not installed."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return "-"
    stated = [word.rpartition(" :: ")[2] for word in about.get_all("Classifier", []) if word.startswith("License ::")]
    first_line = next(iter((about.get("License") or "").strip(" =\n").splitlines()), "").strip()
    text = about.get("License-Expression") or " AND ".join(stated) or first_line
    return text if text and text != "UNKNOWN" else "not stated"


def needs_a_word(licence: str, known: dict) -> bool:
    """Whether any part of it is none of those that only want to be named."""
    parts = re.split(" AND | OR ", re.sub(r" WITH LLVM-exception", "", licence))
    return any(not any(re.search(word, part) for word in known["fine"]) for part in parts)


def problems(licences: dict[str, str], known: dict) -> list[str]:
    """Packages whose licence nobody has looked at, and words about packages that are gone, a sentence each."""
    words = known["words"]
    wrong = [
        f"{name} is licensed {licence!r}: read it and write a word into {KNOWN.name}, or leave the package out"
        for name, licence in licences.items()
        if licence != "-" and needs_a_word(licence, known) and name not in words
    ]
    return wrong + [
        f"{KNOWN.name} has a word on {name}, which no lock holds: delete it" for name in words.keys() - licences
    ]


def table(licences: dict[str, str], known: dict) -> str:
    """THIRD_PARTY.md."""
    rows = [f"| {name} | {licence} | {known['words'].get(name, '')} |" for name, licence in licences.items()]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    known = tomllib.loads(KNOWN.read_text(encoding="utf-8"))
    licences = {name: licence_of(name) for name in locked()}
    found = problems(licences, known)
    print("\n".join(found) or f"{len(licences)} packages, each with a known licence or a word on it: {FILE.name}")
    FILE.write_text(table(licences, known), encoding="utf-8")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(run_cli(main))
