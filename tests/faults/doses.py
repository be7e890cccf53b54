"""Long doses: mutated files, kills, races and odd servers by the thousand; long.py gives them.

Everything is repeatable: number n of a dose follows from n alone. Processes are forked, so POSIX only.
"""

import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

SLOW_S = 2.0


@dataclass
class Tally:
    """What a dose did: how often, and everything that should not have happened."""

    times: int = 0
    lost: int = 0  # a file, a model or a training that is not what it was
    crashed: int = 0  # processes that died by themselves
    foreign: Counter = field(default_factory=Counter)  # errors that are not the kit's
    slow: int = 0
    facts: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    section: str = ""  # a table of its own, for the page of results

    def line(self) -> str:
        facts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.facts.items()))
        foreign = ", ".join(f"{count} {name}" for name, count in self.foreign.items()) or "0"
        return f"| {self.times:,} | {self.lost} | {self.crashed} | {foreign} | {self.slow} | {facts} |"

    def is_clean(self) -> bool:
        return not (self.lost or self.crashed or self.foreign or self.slow)


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a child that ends with 0 when it is done; the child's id."""
    tqdm.set_lock(threading.RLock())  # its own is shared with children, and held for ever by one that is killed
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code, said = 1, os.dup(2)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1), os.dup2(nowhere, 2)  # also what C libraries say
            work()
            code = 0
        except BaseException as error:
            os.write(said, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    return child


def end_of(child: int) -> int:
    """The signal that ended it (negative), or its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(child: int, seconds: float) -> bool:
    """Whether the child was still at work when it was killed."""
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return end_of(child) == -signal.SIGKILL


@contextmanager
def in_memory():
    """A folder for many small files; in memory where the system has such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


# Mutated files -------------------------------------------------------------------------------------------------


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """Flipped, cut, repeated, doubled and overwritten, mostly near the beginning, where headers are."""
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        where = rng.randrange(min(len(content), rng.choice([32, 200, len(content)]))) if content else 0
        what = rng.randrange(7)
        if what < 3 and content:
            content[where] = rng.choice(
                [0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), content[where] ^ (1 << rng.randrange(8))]
            )
        elif what == 3:
            content[where:where] = rng.randbytes(rng.choice([1, 4, 40]))
        elif what == 4:
            del content[where : where + rng.choice([1, 4, 40])]
        elif what == 5:
            content[where : where + 4] = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)]).to_bytes(
                4, "big"
            )
        elif rng.random() < 0.3:
            del content[where:]
        else:
            piece = rng.randrange(len(content) + 1)
            content[where:where] = content[piece : piece + 60]
    return bytes(content)


def seeds() -> list[bytes]:
    """Small pictures of every format and mode."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (14, 18, 3), dtype=np.uint8)
    colour, exif = Image.fromarray(noise), Image.Exif()
    exif[274], exif[305] = 6, "software"
    alpha = colour.convert("RGBA")
    kinds = [
        ("JPEG", colour, {"exif": exif}),
        ("JPEG", colour.convert("L"), {}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("JPEG", colour, {"progressive": True}),
        ("PNG", colour, {"exif": exif}),
        ("PNG", alpha, {}),
        ("PNG", colour.convert("P"), {}),
        ("PNG", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}),
        ("GIF", colour, {"save_all": True, "append_images": [colour]}),
        ("WEBP", colour, {"exif": exif}),
        ("WEBP", alpha, {"lossless": True}),
        ("BMP", colour, {}),
        ("BMP", colour.convert("P"), {}),
        ("TIFF", colour, {}),
        ("TIFF", colour, {"compression": "tiff_lzw"}),
        ("TIFF", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {"compression": "tiff_deflate"}),
    ]
    files = []
    for name, image, how in kinds:
        file = io.BytesIO()
        image.save(file, name, **how)
        files.append(file.getvalue())
    return files


def fuzz(times: int) -> Tally:
    """Mutated pictures through `read_image` and `presize`; then the texts and headers that the kit reads."""
    import warnings

    from data_setup.base.pictures import UnreadableImage, presize, read_image

    warnings.simplefilter("ignore")  # Pillow's about the damage
    wholes, tally = seeds(), Tally()

    def picture(number: int, path: Path) -> str:
        rng = random.Random(number)
        path.write_bytes(mutated(rng.choice(wholes), rng))
        try:
            pixels = presize(read_image(path, at_least_px=8), 16, rng.choice(["crop", "pad", "squish"]))
        except UnreadableImage as error:
            return (
                "refused"
                if str(path) in str(error) and len(str(error).splitlines()) <= 6
                else "an error without its file"
            )
        return "read" if pixels.dtype == "uint8" and min(pixels.shape[1:]) >= 16 else "pixels of a wrong shape"

    in_children(tally, times, picture, ("read", "refused"), "pictures")
    with tempfile.TemporaryDirectory() as folder:
        for name, (whole, read, share) in texts(Path(folder)).items():

            def one(number: int, path: Path, whole=whole, read=read) -> str:
                rng = random.Random(number)
                path.write_bytes(mutated(whole, rng))
                try:
                    read(path)
                except ValueError:
                    return "refused"
                return "read"

            in_children(tally, max(times // share, 1), one, ("read", "refused"), name)
    return tally


def texts(folder: Path) -> dict:
    """What else is read: name -> (a good file, who reads it or raises ValueError, one for how many pictures)."""
    import torch
    from PIL import Image

    from data_setup.base.files import read_json
    from data_setup.base.folders import read_manifest
    from data_setup.items import label_by_regex
    from data_setup.own.labels import label_by_table
    from helpers.review.mark_file import Mark, read_marks, write_marks
    from helpers.runtime.tensor_files import load_tensors, save_tensors

    file, pictures = folder / "file", folder / "pictures"
    pictures.mkdir()
    for name in ("a b.png", "cat_1.png", "dog_02.png"):
        Image.new("L", (4, 4)).save(pictures / name)
    save_tensors(file, {"a": torch.arange(6.0), "b": torch.ones(2, 3)}, {"classes": ["x", "y"]})
    model = file.read_bytes()
    write_marks(file, {"a/1.png": Mark("relabel", "x", "y", "why"), "b.png": Mark("remove", None)})
    marks = file.read_bytes()
    manifest = json.dumps({"name": "x", "files": {"a.png": {"bytes": 3, "sha256": "0" * 64}}}).encode()

    def in_its_folder(path: Path) -> None:
        named = path.with_name("manifest.json")
        path.replace(named)
        read_manifest(named.parent)

    def pattern(path: Path) -> None:
        label_by_regex(pictures, path.read_text(encoding="utf-8", errors="replace"))

    return {
        "model files": (model, load_tensors, 10),
        "marks": (marks, read_marks, 10),
        "manifests": (manifest, in_its_folder, 10),
        "tables": (b'name,label\n"a b.png",x\ncat_1.png,"y\nz"\n', partial(label_by_table, folder=pictures), 20),
        "JSON files": (manifest, read_json, 10),
        "patterns": (rb"([^/_ ]+)[_ ]?[0-9b]*\.png$", pattern, 400),  # each in a process of its own
    }


def in_children(tally: Tally, times: int, one: Callable[[int, Path], str], fine: tuple[str, ...], name: str) -> None:
    """`one(n, path)` for n below `times`, in processes of their own: a crash costs one input, and is counted."""
    workers = min(2, os.cpu_count() or 1)
    with in_memory() as folder:

        def work(worker: int, start: int) -> None:
            from resource import RLIMIT_AS, setrlimit

            setrlimit(RLIMIT_AS, (16 << 30, 16 << 30))
            file, counts = folder / f"input-{worker}", Counter()
            place = (folder / f"place-{worker}").open("r+b", buffering=0)
            for number in range(start, times, workers):
                place.seek(0)
                place.write(f"{number:12}".encode())
                started = time.perf_counter()
                try:
                    counts[one(number, file)] += 1
                except Exception as error:
                    counts[f"{type(error).__name__} ({name} {number})"] += 1
                counts["slow"] += time.perf_counter() - started > SLOW_S
                if number // workers % 500 == 499 or number + workers >= times:
                    (folder / f"counts-{worker}-{number}").write_text(json.dumps(counts))
                    counts = Counter()

        running = {}
        for worker in range(workers):
            (folder / f"place-{worker}").write_bytes(b"           0")
            running[fork(lambda worker=worker: work(worker, worker))] = worker
        while running:
            child, status = os.wait()
            worker = running.pop(child)
            if os.waitstatus_to_exitcode(status) != 0:
                tally.crashed += 1
                at = int((folder / f"place-{worker}").read_bytes())
                print(f"{name}: input {at} ended the process with {os.waitstatus_to_exitcode(status)}", file=sys.stderr)
                running[fork(lambda worker=worker, at=at: work(worker, at + workers))] = worker
        for file in folder.glob("counts-*"):
            for outcome, count in json.loads(file.read_text()).items():
                if outcome == "slow":
                    tally.slow += count
                elif outcome in fine:
                    tally.times += count
                    tally.facts[f"{name} {outcome}"] += count
                else:
                    tally.times += count
                    tally.foreign[outcome] += count


# Killed --------------------------------------------------------------------------------------------------------


def saves(times: int) -> Tally:
    """SIGKILL at any moment of saving a model over another: the file is one of the two, whole."""
    import torch

    from helpers.runtime.tensor_files import load_tensors, save_tensors

    torch.set_num_threads(1)
    tally, rng = Tally(), random.Random(0)
    contents = [torch.full((200_000,), float(value)) for value in range(2)]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.safetensors"
        save_tensors(path, {"x": contents[0]}, {"value": 0})

        def endless() -> None:
            for number in range(1_000_000):
                save_tensors(path, {"x": contents[number % 2]}, {"value": number % 2})

        for _ in range(times):
            child = fork(endless)
            tally.facts["killed at work"] += kill_after(child, rng.uniform(0.002, 0.02))
            tally.times += 1
            try:
                tensors, about = load_tensors(path)
                tally.lost += not torch.equal(tensors["x"], contents[about["value"]])
            except (ValueError, OSError):
                tally.lost += 1
        litter = list(path.parent.glob(".*.tmp"))
        tally.facts["killed in the middle of a write"] = len(litter)
        for file in litter:
            os.utime(file, (0, 0))  # as if a day had passed
        save_tensors(path, {"x": contents[0]}, {"value": 0})
        tally.facts["temporary files left after the next save"] = len(list(path.parent.glob(".*.tmp")))
        tally.lost += bool(list(path.parent.glob(".*.tmp")))
    return tally


@contextmanager
def served_set():
    """(server, the files of the set "tiny", a function that gives a fresh home): an archive on a local server."""
    from data_setup import sets
    from data_setup.downloads import fetch
    from data_setup.downloads.records import DataSet
    from tests.data_setup.conftest import serve
    from tests.data_setup.serving import KIB, Server, pictures, targz

    server, files = Server(), pictures()
    server.http.handle_error = lambda *_: None  # whoever is killed hangs up in the middle of an answer
    body = targz(files, top="t/")
    packings = ((serve(server, "/1.tgz", body, strip=1),),)
    described = {"title": "a set", "pictures": len(files), "licence": "free", "source": server.address}
    record = DataSet("tiny", **described, citation="-", check="-", bytes=len(body), packings=packings)
    patience = {"WAITS_S": (0, 0), "TIMEOUT_S": 0.15, "SLOW_S": 0.2, "WORTH_TRYING": 64 * KIB}
    kept, data = {name: getattr(fetch, name) for name in patience}, os.environ.get("COURSE_DATA")
    catalogue, sets.CATALOGUE = sets.CATALOGUE, (*sets.CATALOGUE, record)
    for name in ("COURSE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    try:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(number: int, patient: bool = True) -> Path:
                vars(fetch).update(kept if patient else patience)
                home = Path(folder) / str(number)
                os.environ["COURSE_DATA"] = str(home)
                return home

            yield server, files, fresh
    finally:
        sets.CATALOGUE = catalogue
        vars(fetch).update(kept)
        os.environ.pop("COURSE_DATA")
        if data:
            os.environ["COURSE_DATA"] = data
        server.close()


def leftovers(home: Path) -> list[str]:
    """What lies in the data folder besides the set, its lock and what was recorded of its archive."""
    fine = {".tiny.lock", ".downloads", "tiny"}
    found = {path.name for path in home.iterdir()} - fine
    return sorted(found | {path.name for path in home.glob(".downloads/tiny/*")} - {"1.tgz.sha256"})


def unpack(times: int) -> Tally:
    """SIGKILL at any moment of downloading and unpacking: no half set, and the next run is whole."""
    import data_setup
    from tests.data_setup.conftest import on_disk

    tally, rng = Tally(), random.Random(0)
    with served_set() as (_, files, fresh):
        fresh(-1)
        started = time.perf_counter()
        end_of(fork(lambda: data_setup.prepare("tiny")))
        whole_s = time.perf_counter() - started
        while tally.facts["killed at work"] < times:
            home = fresh(tally.times)
            killed = kill_after(fork(lambda: data_setup.prepare("tiny")), rng.uniform(0, whole_s))
            tally.facts["killed at work"] += killed
            tally.facts["killed with files already unpacked"] += killed and any(home.glob(".tiny.staging-*/*/*"))
            tally.lost += (home / "tiny").exists() and on_disk(home / "tiny") != files  # half a set
            with redirect_stdout(io.StringIO()):
                tally.lost += on_disk(data_setup.prepare("tiny")) != files
            tally.lost += leftovers(home) != []
            tally.times += 1
    return tally


def trains(times: int) -> Tally:
    """SIGKILL at any moment of a training, as often as it takes, and a resume after each: the same bits at the end.

    As many trainings as it takes until `times` of them were killed and resumed.
    """
    import timm
    import torch

    import helpers.learner
    from tests.conftest import draw_pictures
    from tests.training.test_resume import KINDS, train

    assert timm and helpers.learner  # imported once, not in every child
    torch.set_num_threads(1)
    tally, rng = Tally(), random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["COURSE_DATA"] = str(folder / "data")
        draw_pictures(folder / "pictures", n=8)

        def training(kind: str, resume: bool) -> int:
            def work() -> None:
                (folder / "answer").write_text(train(folder, kind=kind, resume=resume))

            return fork(work)

        whole, seconds = {}, {}
        for kind in KINDS:
            for _ in range(2):  # the second time pixels are at hand
                started = time.perf_counter()
                assert end_of(training(kind, False)) == 0
                seconds[kind] = time.perf_counter() - started
            whole[kind] = (folder / "answer").read_text()
        while tally.facts["trainings killed and resumed"] < times:
            kind = list(KINDS)[tally.times % 2]
            (folder / kind / "model.checkpoint.safetensors").unlink(missing_ok=True)
            (folder / "answer").unlink(missing_ok=True)
            kills = 0
            while kill_after(training(kind, kills > 0), rng.uniform(0.2, 1.1) * seconds[kind]):
                kills += 1
            tally.facts["kills"] += kills
            answer = folder / "answer"
            is_same = answer.exists() and answer.read_text() == whole[kind]
            tally.facts["trainings killed and resumed"] += kills > 0
            tally.facts["of them with the same bits at the end"] += kills > 0 and is_same
            tally.lost += not is_same
            tally.times += 1
    return tally


# At once, and served badly -------------------------------------------------------------------------------------


def races(times: int) -> Tally:
    """Two to four processes that want the same set, and the same decoded pictures, from a slow server at once."""
    import data_setup
    from helpers.data.pixels import load_or_decode
    from tests.conftest import draw_pictures
    from tests.data_setup.conftest import on_disk

    tally = Tally()
    with served_set() as (server, files, fresh):
        answer = server.answer

        def slow(to):
            time.sleep(0.05)
            answer(to)

        server.answer = slow
        for number in range(times):
            home = fresh(number)
            asked = len(server.asked)
            pictures = draw_pictures(home.with_name(f"pictures-{number}"), n=3)
            paths = sorted(pictures.rglob("*.png"))

            def work(home=home, paths=paths) -> None:
                assert on_disk(data_setup.prepare("tiny")) == files
                assert len(load_or_decode(paths, home / "pixels.u8", presize_px=16)) == len(paths)

            children = [fork(work) for _ in range(2 + number % 3)]
            tally.facts["processes"] += len(children)
            tally.lost += sum(end_of(child) != 0 for child in children)
            tally.lost += on_disk(home / "tiny") != files
            tally.facts["downloads"] += len(server.asked) - asked
            tally.times += 1
    return tally


def servers(times: int) -> Tally:
    """Every way a server can behave, `times` times each: the exact set, or words and no set; then the set after all."""
    import data_setup
    from tests.data_setup.conftest import on_disk
    from tests.data_setup.test_fetch import FAILS, FINISHES

    tally = Tally()
    with served_set() as (server, files, fresh):
        tally.facts["ways to behave"] = len(FINISHES) + len(FAILS)
        for place, mode in enumerate((*FINISHES, *FAILS)):
            for number in range(times):
                home = fresh(place * times + number, patient=False)
                server.modes["/1.tgz"] = mode
                server.requests.clear()
                tally.times += 1
                with redirect_stdout(io.StringIO()):
                    try:
                        data_setup.prepare("tiny")
                        tally.facts["whole at once"] += 1
                        tally.lost += mode in FAILS
                    except RuntimeError as error:
                        is_clear = server.address in str(error) and "type again" in str(error)
                        tally.facts["refused in words, whole afterwards"] += is_clear
                        tally.lost += not is_clear or mode in FINISHES or (home / "tiny").exists()
                    except Exception as error:
                        tally.foreign[f"{type(error).__name__} ({mode})"] += 1
                    server.modes.clear()
                    tally.lost += on_disk(data_setup.prepare("tiny")) != files or leftovers(home) != []
    return tally
