"""Known vulnerabilities in the locked versions, without a network: `python -m tools.advisories [FILE ...]`.

FILE is a TOML file like advisories.toml, the default. The versions in all locks, and the lowest ones that
the dependencies in pyproject.toml allow, are compared with those in which each vulnerability was fixed.
"""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from tools.notebook_files import ROOT, run_cli

KNOWN = Path(__file__).with_name("advisories.toml")
LOCKS = tuple(ROOT / f"{name}.lock" for name in ("requirements", "tests/requirements", "tests/bench", "tests/supply"))


def versions(locks: tuple[Path, ...] = LOCKS, pyproject: Path = ROOT / "pyproject.toml") -> list[tuple[str, str, str]]:
    """(where, package, version) of every pin, and of every lower bound."""
    pins = [
        (lock.relative_to(ROOT).as_posix() if lock.is_relative_to(ROOT) else lock.name, *pin)
        for lock in locks
        for pin in re.findall(r"^([A-Za-z0-9][\w.-]*)==([^ ;\\\n]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    wanted = map(Requirement, tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"])
    bounds = [
        ("pyproject.toml", one.name, bound.version)
        for one in wanted
        for bound in one.specifier
        if bound.operator == ">="
    ]
    return pins + bounds


def holes(found: list[tuple[str, str, str]], advisories: list[dict]) -> list[str]:
    """A sentence for every version that an advisory is about."""
    return [
        f"{where}: {package} {version}: {known['what']} ({known['id']}); take {known['fixed']} or later"
        for where, package, version in found
        for known in advisories
        if package.lower() == known["package"] and Version(version) < Version(known["fixed"])
    ]


def main() -> int:
    files = [Path(name) for name in sys.argv[1:]] or [KNOWN]
    advisories = [one for file in files for one in tomllib.loads(file.read_text(encoding="utf-8"))["advisory"]]
    open_holes = holes(found := versions(), advisories)
    print("\n".join(open_holes) or f"{len(found)} versions, none with one of {len(advisories)} known vulnerabilities")
    return int(bool(open_holes))


if __name__ == "__main__":
    sys.exit(run_cli(main))
