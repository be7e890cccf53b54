"""Time and memory against the number of pictures and against their size, on pictures made up here.

What should be seen: time grows in a straight line with both, and memory not at all, beyond the uint8 cache (which is a
mapped file: pages of it count only while they fit).
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from helpers.figures.style import BLUE, COLOURS, DASHES, MARKS, Drawing, new_figure
from tests.benchmarks.bench import machine, say
from tests.benchmarks.memory import watched
from tests.benchmarks.processes import ENVIRONMENT, ROOT, Failed

SIZES = (64, 96, 128, 192, 256)
COUNT_SIZE, SIZE_COUNT = 48, 500  # pictures of the series over counts are this large; over sizes, this many
STAGES = ("decode", "batches", "activations", "head")
MEASURED = """
import json, sys, time
from helpers.data.augment import top_down
from helpers.data.dataset import ImageData
from helpers.learner import Learner
seconds, started = {}, time.perf_counter()
def stage(name):
    global started
    seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
data = ImageData.from_folders(sys.argv[1], size=int(sys.argv[2]), augment=top_down(), batch_size=64)
stage("find")
data.store
stage("decode")
learn = Learner.pretrained(data, "efficientnet_lite0")
stage("build")
for batch in data.train_batches(learn.device, 64, 0):
    pass
stage("batches")
learn.source()
stage("activations")
learn.fit(1e-3, 1)
stage("head")
print(json.dumps({"seconds": seconds, "cache_bytes": data.store.flat.numel()}))
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
    by_count = [point for point in points if point["size_px"] == COUNT_SIZE]
    by_size = [point for point in points if point["pictures"] == SIZE_COUNT]
    for name, series, what in (
        ("count", by_count, "pictures"),
        ("size", sorted(by_size, key=lambda point: point["size_px"]), "size_px"),
    ):
        picture = folder / f"growth-{name}.png"
        draw(series, what).figure.savefig(picture)
        say(f"written: {picture}")
    text = markdown(points)
    (folder / "growth.md").write_text(text + "\n")
    say(f"\n{text}\n\nwritten to {folder / 'growth.md'} and growth.json")
    return 0


def measure(pictures: int, size_px: int) -> dict:
    """Seconds of every stage, peak memory, and size of the cache for so many made-up pictures."""
    with TemporaryDirectory(prefix="growth-") as folder:
        made = Path(folder) / "pictures"
        make_pictures(made, pictures, round(size_px * 1.25))
        say(f"{pictures:,} pictures of {size_px} px")
        process = subprocess.Popen(
            [sys.executable, "-c", MEASURED, str(made), str(size_px)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            env=os.environ | ENVIRONMENT | {"COURSE_DATA": folder},
        )  # fmt: skip
        with watched(process.pid) as peak:
            run_cli = process.communicate()[0]
    if process.returncode:
        raise Failed(f"{pictures} pictures of {size_px} px: the process ended with {process.returncode}")
    answer = json.loads(run_cli.strip().rpartition("\n")[2])
    cache_mib = answer["cache_bytes"] / 2**20
    return {"pictures": pictures, "size_px": size_px, "peak_mib": peak.mib, "cache_mib": cache_mib} | answer


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
    """Two panels over the number or the size: seconds of each stage, and memory."""
    figure = new_figure(height_in=3.6, width_in=9)
    seconds, memory = figure.subplots(1, 2)
    sizes = [point[what] for point in points]
    for index, stage in enumerate(STAGES):
        style = {"color": COLOURS[index], "linestyle": DASHES[index], "marker": MARKS[index], "label": stage}
        seconds.plot(sizes, [point["seconds"][stage] for point in points], **style)
    memory.plot(
        sizes, [point["peak_mib"] for point in points], color=BLUE, marker=MARKS[0], label="peak of the process"
    )
    memory.plot(
        sizes, [point["cache_mib"] for point in points], color=COLOURS[1], linestyle=DASHES[1], marker=MARKS[1],
        label="uint8 cache",
    )  # fmt: skip
    label = "pictures" if what == "pictures" else "side in pixels"
    for ax, unit in ((seconds, "seconds"), (memory, "MiB")):
        ax.set(xlabel=label, ylabel=unit)
        if what == "pictures":
            ax.set(xscale="log", yscale="log")
        ax.legend()
    return Drawing(figure, f"Seconds of each stage (left) and memory (right) against {label}.")


def markdown(points: list[dict]) -> str:
    head = ["pictures", "px", *(f"{stage} s" for stage in STAGES), "peak MiB", "cache MiB"]
    rows = [
        [f"{p['pictures']:,}", str(p["size_px"]), *(f"{p['seconds'][stage]:.1f}" for stage in STAGES),
         f"{p['peak_mib']:.0f}", f"{p['cache_mib']:.0f}"]
        for p in points
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
