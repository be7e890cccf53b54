"""Time and memory against the number of pictures and against their size, on pictures made up here: a folder is checked
and split as a user does it, then found, decoded, trained on and browsed.

Seconds are a processor's, so that other work on the machine does not count; those that a person waits are kept beside
them in growth.json. What should be seen: time grows in a straight line with both, and memory not at all, beyond the
caches (which are mapped files: pages of them count only while they fit).
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from PIL import Image

from helpers.figures.style import COLOURS, DASHES, MARKS, Drawing, new_figure
from tests.benchmarks.bench import machine, say
from tests.benchmarks.memory import MIB, Peak, watched
from tests.benchmarks.processes import ENVIRONMENT, ROOT, Failed

SIZES = (64, 96, 128, 192, 256)
COUNT_SIZE, SIZE_COUNT = 48, 500  # pictures of the series over counts are this large; over sizes, this many
STAGES = {  # name: what it is
    "check": "python -m data_setup check: every file read, all compared with all",
    "split": "python -m data_setup split, and the ImageData of the folder",
    "decode": "hashed and decoded into the uint8 cache",
    "batches": "an epoch of augmented batches",
    "activations": "features of the frozen body, kept in files",
    "head": "the head trained for an epoch, all pictures predicted",
    "browse": "a browser opened on the whole set, filtered, turned, and a mark saved",
}
MEMORY = {  # name: in the table and the figure
    "check_mib": "check MiB",
    "own_mib": "own MiB",
    "peak_mib": "own and mapped MiB",
    "pixels_mib": "pixels MiB",
    "features_mib": "features MiB",
}
MEASURED = """
import json, sys, time
from helpers.data.augment import top_down
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.review.browsers import MistakeBrowser
seconds, started, waited, waited_from = {}, time.process_time(), {}, time.perf_counter()
def stage(name):
    global started, waited_from
    seconds[name], waited[name] = time.process_time() - started, time.perf_counter() - waited_from
    started, waited_from = time.process_time(), time.perf_counter()
data = ImageData.from_folders(sys.argv[1], size=int(sys.argv[2]), augment=top_down(), batch_size=64)
stage("find")
data.store
stage("decode")
learn = Learner.pretrained(data, "efficientnet_lite0")
learn.precision, learn.prediction_precision  # timed, once a machine
stage("build")
for batch in data.train_batches(learn.device, 64, 0):
    pass
stage("batches")
learn.source()
stage("activations")
learn.fit(1e-3, 1)
preds = [learn.get_preds(part) for part in ("train", "valid")]
stage("head")
browser = MistakeBrowser(preds, learn)
assert "data:image" in browser.pictures[0].value
browser.filters["label"].value = "class1"
assert 0 < len(browser.review.order) < len(data.items)
browser.buttons["next"].click()
browser.buttons["remove"].click()
left = browser.review.apply(data.items, held_out=True)
assert browser.review.file.path.is_file() and len(left) == len(data.items) - 1
stage("browse")
print(json.dumps({"seconds": seconds, "waited": waited, "cache_bytes": data.store.flat.numel()}))
"""


def main(folder: Path, *, counts: Sequence[int]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "growth.json"
    known = json.loads(file.read_text())["points"] if file.exists() else []
    wanted = [(n, COUNT_SIZE) for n in counts] + [(SIZE_COUNT, px) for px in SIZES]
    points = [point for point in known if (point["pictures"], point["size_px"]) in wanted]
    for pictures, size_px in wanted:
        if (pictures, size_px) not in [(point["pictures"], point["size_px"]) for point in points]:
            points.append(measure(pictures, size_px))
            file.write_text(json.dumps({"machine": machine(), "points": points}, indent=1))
    points.sort(key=lambda point: (point["size_px"] != COUNT_SIZE, point["pictures"], point["size_px"]))
    by_count = [point for point in points if point["size_px"] == COUNT_SIZE]
    by_size = [point for point in points if point["pictures"] == SIZE_COUNT]
    for name, series, what in (
        ("count", by_count, "pictures"),
        ("size", by_size, "size_px"),
    ):
        picture = folder / f"growth-{name}.png"
        draw(series, what).figure.savefig(picture)
        say(f"written: {picture}")
    text = markdown(points)
    (folder / "growth.md").write_text(text + "\n")
    say(f"\n{text}\n\nwritten to {folder / 'growth.md'} and growth.json")
    return 0


def measure(pictures: int, size_px: int) -> dict:
    """Processor seconds of every stage, peak memory, and size of the caches for so many made-up pictures."""
    with TemporaryDirectory(prefix="growth-") as folder:
        made = Path(folder) / "pictures"
        make_pictures(made, pictures, round(size_px * 1.25))
        say(f"{pictures:,} pictures of {size_px} px")
        home = Path(folder) / "home"
        seconds, waited, memory = {}, {}, {}
        for command in ("check", "split"):
            used, started = children_seconds(), perf_counter()
            _, memory[command] = run_watched(["-m", "data_setup", command, str(made)], home, ends_with=(0, 1))
            seconds[command], waited[command] = children_seconds() - used, perf_counter() - started
        said, peak = run_watched(["-c", MEASURED, str(made), str(size_px)], home)
        answer = json.loads(said.strip().rpartition("\n")[2])
        features = sum(file.stat().st_size for file in (home / "cache" / "features").iterdir())
    for table, found in ((seconds, answer["seconds"]), (waited, answer["waited"])):
        table["split"] += found["find"]
        table |= {stage: found[stage] for stage in STAGES if stage in found and stage not in table}
    return {
        "pictures": pictures,
        "size_px": size_px,
        "seconds": seconds,
        "waited": waited,
        "check_mib": memory["check"].anonymous_mib,
        "own_mib": peak.anonymous_mib,
        "peak_mib": peak.mib,
        "pixels_mib": answer["cache_bytes"] / MIB,
        "features_mib": features / MIB,
    }


def children_seconds() -> float:
    """Processor seconds of all processes that this one has started and that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_watched(arguments: Sequence[str], home: Path, *, ends_with: Sequence[int] = (0,)) -> tuple[str, Peak]:
    """What a Python process prints, and its peak memory with all that it starts. Raises Failed."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        env=os.environ | ENVIRONMENT | {"COURSE_DATA": str(home)},
    )  # fmt: skip
    with watched(process.pid) as peak:
        said = process.communicate()[0]
    if process.returncode not in ends_with:
        raise Failed(f"python {' '.join(arguments)[:60]} ... ended with {process.returncode}: {said[-2000:]}")
    return said, peak


def make_pictures(folder: Path, n: int, side_px: int) -> None:
    """JPEG files of two classes: smooth random clouds, the second class brighter. The same at every call."""

    def make(number: int) -> None:
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 160, (6, 6, 3)).astype(np.uint8) + np.uint8(80 * (number % 2))
        image = Image.fromarray(coarse).resize((side_px, side_px), Image.Resampling.BICUBIC)
        image.save(folder / f"class{number % 2}" / f"{number:06d}.jpg", quality=85)

    for label in ("class0", "class1"):
        (folder / label).mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make, range(n)))


def draw(points: list[dict], what: str) -> Drawing:
    """Two panels over the number or the size: processor seconds of each stage, and memory."""
    figure = new_figure(height_in=3.6, width_in=9)
    seconds, memory = figure.subplots(1, 2)
    sizes = [point[what] for point in points]
    for index, stage in enumerate(STAGES):
        style = {"color": COLOURS[index], "linestyle": DASHES[index], "marker": MARKS[index], "label": stage}
        seconds.plot(sizes, [point["seconds"][stage] for point in points], **style)
    for index, (kind, words) in enumerate(MEMORY.items()):
        style = {"color": COLOURS[index], "linestyle": DASHES[index], "marker": MARKS[index], "label": words}
        memory.plot(sizes, [point[kind] for point in points], **style)
    label = "pictures" if what == "pictures" else "side in pixels"
    for ax, unit in ((seconds, "processor seconds"), (memory, "MiB")):
        ax.set(xlabel=label, ylabel=unit)
        if what == "pictures":
            ax.set(xscale="log", yscale="log")
        ax.legend()
    return Drawing(figure, f"Processor seconds of each stage (left) and memory (right) against {label}.")


def markdown(points: list[dict]) -> str:
    head = ["pictures", "px", *(f"{stage} s" for stage in STAGES), *MEMORY.values()]
    rows = [
        [f"{p['pictures']:,}", str(p["size_px"]), *(f"{p['seconds'][stage]:.1f}" for stage in STAGES),
         *(f"{p[kind]:.0f}" for kind in MEMORY)]
        for p in points
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
