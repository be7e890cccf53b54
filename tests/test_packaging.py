"""The files that say what to install agree with each other, and the Makefile does what the README says."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.notebook_files import ROOT

MAX_ROOT_ENTRIES = 12
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYTHONS = ["3.11", "3.12", "3.13"]
WANTED = {  # lock: what it must hold
    "requirements.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["export"] + GROUPS["setup"],
    "tests/requirements.lock": GROUPS["test"] + GROUPS["lint"] + GROUPS["publish"],
    "tests/bench.lock": PROJECT["dependencies"] + GROUPS["bench"],
    "tests/supply.lock": GROUPS["supply"],
}
LEARNERS_TOOLS = ["course", "execute", "learner_copies", "notebook_files", "timings"]  # behind make course, make work


def pins(lock: str, python: str) -> dict[str, Version]:
    """The version that a lock holds of each package, on Linux with this Python."""
    lines = re.findall(r"^\w[^\n]*", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [Requirement(line.removesuffix("\\")) for line in lines]
    env = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    env |= {"platform_machine": "x86_64", "platform_system": "Linux", "implementation_name": "cpython"}
    fitting = [pin for pin in found if pin.marker is None or pin.marker.evaluate(env | {"extra": ""})]
    names = [canonicalize_name(pin.name) for pin in fitting]
    assert len(set(names)) == len(names), f"{lock} holds two versions of one package for Python {python}"
    versions = [Version(str(pin.specifier).removeprefix("==")) for pin in fitting]
    return dict(zip(names, versions, strict=True))


@pytest.mark.parametrize("lock", WANTED)
def test_each_lock_holds_a_fitting_version_of_everything_it_is_for(lock):
    wrong = []
    for python in PYTHONS:
        held = pins(lock, python)
        for requirement in map(Requirement, WANTED[lock]):
            version = held.get(canonicalize_name(requirement.name))
            if version is None or version not in requirement.specifier:
                wrong.append((python, str(requirement), str(version)))
    assert wrong == [], "type: make lock"


@pytest.mark.parametrize("lock", ["tests/requirements.lock", "tests/bench.lock"])
@pytest.mark.parametrize("python", PYTHONS)
def test_no_other_lock_changes_what_the_learners_has_installed(lock, python):
    learners, others = pins("requirements.lock", python), pins(lock, python)
    changed = {name: version for name, version in others.items() if learners.get(name, version) != version}
    assert changed == {}, "type: make lock"


def test_every_install_compares_hashes():
    """Catches packages that come without a lock."""
    commands = [line for line in MAKEFILE.splitlines() if " pip install " in line]
    assert len(commands) >= 5
    assert [line for line in commands if "--require-hashes" not in line and not line.endswith(" -e .")] == []


def test_a_learner_downloads_nothing_that_only_authors_need():
    """No browser driver, linter or test runner; but all that the package, `make course` and `make work` import."""
    held = set(pins("requirements.lock", "3.12"))
    only_authors = {canonicalize_name(Requirement(text).name) for text in GROUPS["test"] + GROUPS["lint"]}
    assert held & (only_authors - {"packaging", "pyyaml"}) == set()
    files = [ROOT / f"tools/{name}.py" for name in LEARNERS_TOOLS]
    files += [path for package in ("helpers", "data_setup") for path in (ROOT / package).rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    imported = {name for text in texts for name in re.findall(r"^\s*(?:import|from) (\w+)", text, flags=re.MULTILINE)}
    needed = {
        canonicalize_name(distribution)
        for module, distributions in importlib.metadata.packages_distributions().items()
        if module in imported
        for distribution in distributions
    }
    assert needed - held - {PROJECT["name"]} == set()


@pytest.mark.parametrize("lock", WANTED)
def test_every_locked_version_is_exact_and_hashed_and_no_address_is_named(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\w)", text.strip())
    assert len(entries) > (40 if lock == "tests/supply.lock" else 50)
    assert [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?:|://|--(?:extra-)?index|--find-links|file:| @ ", text) == []


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


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    """Style sheets, scripts and question files beside the modules are in it; tools, tests and notebooks are not."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "helpers", "data_setup"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel('dist')"
    built = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for name in ("helpers", "data_setup") for path in (ROOT / name).rglob("*") if path.is_file()}
    assert packed == {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


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
    named = set(re.findall(r"\$\(PY\) -m ((?:helpers|data_setup|tools)[\w.]*)", MAKEFILE))
    paths = [ROOT / name.replace(".", "/") for name in named]
    assert named
    assert [path for path in paths if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())] == []


def test_the_kernel_lets_waiting_threads_sleep():
    """In the environment that `make setup` has made: the kernel's own specification says it, whoever starts Jupyter."""
    spec = Path(sys.prefix) / "share/jupyter/kernels/python3/kernel.json"
    if not (Path(sys.prefix) / "ready").exists():
        pytest.skip("this environment was not made by make setup")
    assert json.loads(spec.read_text())["env"]["OMP_WAIT_POLICY"] == "PASSIVE"


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
