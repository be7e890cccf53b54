"""What is installed: licences that somebody has looked at, and no version with a known hole."""

import tomllib

import pytest

from tools import advisories, licences
from tools.notebook_files import ROOT

KNOWN = {"fine": [r"\bMIT\b", r"\bBSD\b", "Apache"], "words": {"tool": "why"}}


def test_every_licence_of_the_learners_lock_is_known_or_has_a_word():
    """Catches a package under the GPL, the AGPL or nobody knows what."""
    known = tomllib.loads(licences.KNOWN.read_text(encoding="utf-8"))
    found = {name: licences.licence_of(name) for name in licences.locked()}
    assert len(found) > 100 and licences.problems(found, known) == []


def test_the_list_is_that_of_the_lock():
    """Catches a lock that was compiled again without `make licences`."""
    rows = licences.FILE.read_text(encoding="utf-8").splitlines()
    listed = [row.split(" | ")[0].removeprefix("| ") for row in rows if row.startswith("| ")][1:]
    assert listed == licences.locked()


@pytest.mark.parametrize(
    "licence, asks",
    [
        ("MIT", False),
        ("MIT OR Apache-2.0", False),
        ("BSD License AND MIT License", False),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0-only", True),
        ("MIT AND LGPL-2.1-or-later", True),
        ("not stated", True),
        ("SUBMITTED", True),
    ],
)
def test_what_asks_for_more_than_to_be_named_needs_a_word(licence, asks):
    """Catches a word inside another word, and one good half of a licence that speaks for the other."""
    assert licences.needs_a_word(licence, KNOWN) is asks
    assert bool(licences.problems({"new": licence, "tool": "GPL"}, KNOWN)) is asks


def test_a_word_on_a_package_that_is_gone_is_reported():
    assert licences.problems({}, KNOWN) == ["licences.toml has a word on tool, which no lock holds: delete it"]


def test_no_version_of_the_locks_has_a_known_hole():
    """Catches an old version that a constraint keeps, and a lower bound that lets one in."""
    known = tomllib.loads(advisories.KNOWN.read_text(encoding="utf-8"))["advisory"]
    found = advisories.versions()
    assert {one["package"] for one in known} <= {package.lower() for _, package, _ in found}
    assert advisories.holes(found, known) == []


def test_an_old_version_is_named_with_the_one_to_take():
    known = [{"id": "X-1", "package": "torch", "fixed": "2.10", "what": "runs code"}]
    found = [("a.lock", "torch", "2.9.1"), ("b.lock", "Torch", "2.9"), ("c.lock", "torch", "2.10"), ("d", "x", "1")]
    assert advisories.holes(found, known) == [
        "a.lock: torch 2.9.1: runs code (X-1); take 2.10 or later",
        "b.lock: Torch 2.9: runs code (X-1); take 2.10 or later",
    ]


def test_an_audit_that_can_look_nothing_up_fails():
    """Catches "No known vulnerabilities found" where no package was found in the list of vulnerabilities."""
    [line] = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if "bin/pip-audit " in line]
    assert " --strict " in line
