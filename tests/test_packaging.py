"""The files that say what to install agree with each other, and the Makefile does what the README says."""

import os
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.notebook_files import ROOT

MAX_ROOT_ENTRIES = 12
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
EXTRAS = re.search(r"^EXTRAS := (.*)$", MAKEFILE, flags=re.MULTILINE)[1].split()
PYTHONS = ["3.11", "3.12", "3.13"]


def locked() -> list[Requirement]:
    return [Requirement(line.removesuffix("\\")) for line in re.findall(r"^\w[^\n]*", LOCK, flags=re.MULTILINE)]


def wanted() -> list[Requirement]:
    """What the project asks for, with the extras that the lock holds."""
    texts = PROJECT["dependencies"] + [text for name in EXTRAS for text in PROJECT["optional-dependencies"][name]]
    own = [Requirement(text) for text in texts if text.startswith(PROJECT["name"])]
    texts += [
        text for requirement in own for name in requirement.extras for text in PROJECT["optional-dependencies"][name]
    ]
    return [Requirement(text) for text in dict.fromkeys(texts) if not text.startswith(PROJECT["name"])]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_holds_a_fitting_version_of_every_dependency(requirement, python):
    env = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    env |= {"platform_machine": "x86_64", "platform_system": "Linux", "extra": ""}
    name = canonicalize_name(requirement.name)
    pins = [pin for pin in locked() if canonicalize_name(pin.name) == name]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(env)]
    assert len(pins) == 1, f"{requirement} has {len(pins)} versions in requirements.lock; type: make lock"
    version = Version(str(pins[0].specifier).removeprefix("=="))
    assert version in requirement.specifier, f"{pins[0]} does not fit {requirement}; type: make lock"


def test_every_locked_version_is_exact_and_hashed():
    entries = re.split(r"\n(?=\w)", LOCK.strip())
    assert len(entries) > 50
    assert [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_address():
    assert re.findall(r"https?:|://|--(?:extra-)?index|--find-links|file:| @ ", LOCK) == []


def test_python_versions_agree():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [python for python in ["3.10", *PYTHONS, "3.14"] if Version(python) in allowed] == PYTHONS
    assert "(3, 11) <= v <= (3, 13)" in MAKEFILE


def test_the_conda_door_leads_to_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, nested = environment["dependencies"]
    assert environment["channels"][0] == "conda-forge"
    assert python.partition("=")[2] in PYTHONS
    assert pip == "pip"
    assert nested == {"pip": ["-r requirements.lock"]}
    assert f"export OMP_WAIT_POLICY := {environment['variables']['OMP_WAIT_POLICY']}" in MAKEFILE


def test_everything_that_is_not_python_is_packaged():
    """Style sheets, scripts and question files beside the modules are found after an installation, too."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [ROOT / name.replace(".", "/") for name in tool["packages"]]
    beside = {file.suffix for folder in folders for file in folder.iterdir() if file.is_file()} - {".py", ".pyc"}
    assert beside <= {pattern.removeprefix("*") for pattern in tool["package-data"]["*"]}
    inside = {path.parent for name in ("helpers", "data_setup") for path in (ROOT / name).rglob("*.py")}
    assert inside == set(folders)


def test_the_root_is_small():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    entries = {path.split("/")[0] for path in listed.stdout.splitlines() if not path.startswith(".")}
    assert 0 < len(entries) <= MAX_ROOT_ENTRIES, sorted(entries)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


def test_every_make_line_of_the_readme_works():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`|\$ )make +([a-z]+)", readme, flags=re.MULTILINE)
    assert named, "README.md names no make target"
    assert set(named) <= targets()


def test_help_lists_every_target_meant_for_people():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert set(re.findall(r"^  make (\w+)", listed, flags=re.MULTILINE)) == targets() - {"browser", "data"}


def test_modules_run_by_make_exist():
    named = set(re.findall(r"\$\(PY\) -m ((?:helpers|data_setup)[\w.]*)", MAKEFILE))
    paths = [ROOT / name.replace(".", "/") for name in named]
    assert named
    assert [path for path in paths if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())] == []


def test_ci_runs_the_tests():
    script = ROOT / ".ci/run"
    assert "make test" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o100, "chmod +x .ci/run"


def test_an_old_python_is_told_in_one_sentence(tmp_path):
    """`make` in a copy with a pretended Python 3.9: one sentence, and nothing is made."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\nexec "$REAL" -c "import sys; sys.version_info = (3, 9, 2)\n$2"\n')
    old.chmod(0o755)
    env = os.environ | {"REAL": shutil.which("python3") or "python3"}
    done = subprocess.run(
        ["make", "course", "PYTHON=./python3.9"], cwd=tmp_path, capture_output=True, text=True, env=env
    )
    assert done.returncode != 0
    assert (
        "needs Python 3.11, 3.12 or 3.13, and ./python3.9 is 3.9; name another one: make course PYTHON=" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".venv").exists()
