"""Sets of pictures that take seconds to make and have what real ones have: structure, noise, groups, wrong labels.

    breeds   37 classes in one folder, labelled by name (Abyssinian_12.jpg): JPEG files of many sizes. A class is a coat
             (stripes, spots, rings, checks, bars) in a colour on a body of some shape. Three or four neighbouring
             numbers are one animal: same ground, same light. split.json holds out whole animals.
    marks    ten classes of 28 px grey PNG files in train/, valid/ and test/: strokes, bent, turned and noisy.
    kinds    200 classes in folders, ten JPEG files of about 64 px each: coats, bodies and colours in all combinations.

Of each about three labels in a hundred are wrong.
"""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_setup.own.split_file import SPLIT_FILE, write_split
from data_setup.splits import Split

BREEDS = (
    "Abyssinian",
    "Bengal",
    "Birman",
    "Bombay",
    "British_Shorthair",
    "Egyptian_Mau",
    "Maine_Coon",
    "Persian",
    "Ragdoll",
    "Russian_Blue",
    "Siamese",
    "Sphynx",
    "american_bulldog",
    "american_pit_bull_terrier",
    "basset_hound",
    "beagle",
    "boxer",
    "chihuahua",
    "english_cocker_spaniel",
    "english_setter",
    "german_shorthaired",
    "great_pyrenees",
    "havanese",
    "japanese_chin",
    "keeshond",
    "leonberger",
    "miniature_pinscher",
    "newfoundland",
    "pomeranian",
    "pug",
    "saint_bernard",
    "samoyed",
    "scottish_terrier",
    "shiba_inu",
    "staffordshire_bull_terrier",
    "wheaten_terrier",
    "yorkshire_terrier",
)
MARKS = ("bar", "bolt", "cross", "disc", "fork", "hook", "ladder", "ring", "star", "wave")
COATS = ("stripes", "spots", "rings", "checks", "bars")
BODIES = ("oval", "wedge", "square", "drop")
COLOURS = ((205, 150, 90), (90, 90, 105), (232, 226, 210), (120, 70, 45), (70, 95, 140), (180, 90, 110))
PER_BREED, PER_ANIMAL, BREED_SIDES = 24, (3, 4), (96, 220)
PER_MARK = {"train": 60, "valid": 24, "test": 12}
N_KINDS, PER_KIND, KIND_SIDES = 200, 10, (56, 73)
WRONG_LABELS = 0.03
SIDE = 28


@dataclass(frozen=True)
class Breed:
    """What all animals of a class share."""

    coat: str
    body: str
    colour: tuple[int, int, int]
    step: float  # of the coat, as a share of the body

    @classmethod
    def number(cls, index: int) -> "Breed":
        """A combination of its own for each of the 37."""
        colour = COLOURS[(index + index // 5) % len(COLOURS)]
        return cls(COATS[index % 5], BODIES[index // 5 % 4], colour, 0.16 if index < 20 else 0.3)


def make_breeds(folder: Path, seed: int = 0) -> Path:
    """Write the 37 classes into `folder` (made; must not exist) and its split.json; about 890 files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    animals: dict[str, str] = {}  # file name -> animal
    for index, name in enumerate(BREEDS):
        number = 0
        while number < PER_BREED:
            ground, light = rng.integers(60, 200, 3), rng.uniform(0.75, 1.2)
            animal = f"{name} {number}"
            for _ in range(min(int(rng.choice(PER_ANIMAL)), PER_BREED - number)):
                number += 1
                said = BREEDS[rng.integers(37)] if rng.random() < WRONG_LABELS else name
                file = f"{said}_{number + 100 * (said != name)}.jpg"
                if file in animals:
                    continue
                animals[file] = animal
                picture = _animal(Breed.number(index), ground, light, BREED_SIDES, rng)
                picture.save(folder / file, quality=int(rng.integers(70, 95)))
    write_split(_by_animal(animals, rng), folder / SPLIT_FILE, how="whole animals, a quarter to validate on")
    return folder


def _by_animal(animals: dict[str, str], rng: np.random.Generator) -> Split:
    """Of each breed's animals two or so validate and one tests."""
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for name in BREEDS:
        own = sorted({animal for animal in animals.values() if animal.rpartition(" ")[0] == name})
        rng.shuffle(own)
        part_of = dict(zip(own, ["valid", "test", "valid"][: max(1, len(own) // 2)], strict=False))
        for file, animal in animals.items():
            if animal in own:
                parts[part_of.get(animal, "train")].append(file)
    return Split(*map(tuple, parts.values()))


def _animal(
    breed: Breed, ground: np.ndarray, light: float, sides: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    width, height = (int(side) for side in rng.integers(*sides, 2))
    y, x = np.mgrid[0:height, 0:width].astype(float)
    slope = (x / width - 0.5) * rng.uniform(-60, 60) + (y / height - 0.5) * rng.uniform(-60, 60)
    pixels = ground + slope[..., None] + rng.normal(0, 9, (height, width, 1))
    radius = 0.36 * min(width, height) * rng.uniform(0.85, 1.15)
    centre = (width * rng.uniform(0.42, 0.58), height * rng.uniform(0.42, 0.58))
    angle = rng.uniform(-0.35, 0.35)
    u = ((x - centre[0]) * math.cos(angle) + (y - centre[1]) * math.sin(angle)) / radius
    v = ((y - centre[1]) * math.cos(angle) - (x - centre[0]) * math.sin(angle)) / radius
    inside, coat = _body(breed.body, u, v), _coat(breed, u, v, rng.uniform(0, 1))
    fur = np.array(breed.colour) * np.where(coat, 0.45, 1.0)[..., None] + rng.normal(0, 7, (height, width, 1))
    pixels = np.where(inside[..., None], fur, pixels) * light
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))


def _body(body: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    shapes = {
        "oval": (u / 1.25) ** 2 + (v / 0.85) ** 2 < 1,
        "wedge": (v > -0.95) & (v < 0.95) & (np.abs(u) < 0.25 + 0.45 * (v + 1)),
        "square": np.maximum(np.abs(u), np.abs(v)) < 0.9,
        "drop": u**2 + np.where(v < 0, v / 1.3, v) ** 2 < 0.9,
    }
    return shapes[body]


def _coat(breed: Breed, u: np.ndarray, v: np.ndarray, phase: float) -> np.ndarray:
    step = breed.step * 2
    a, b = u / step + phase, v / step + phase
    coats: dict[str, Callable[[], np.ndarray]] = {
        "stripes": lambda: (a + b) % 1 < 0.45,
        "spots": lambda: ((a % 1) - 0.5) ** 2 + ((b % 1) - 0.5) ** 2 < 0.1,
        "rings": lambda: (np.hypot(u, v) / step + phase) % 1 < 0.45,
        "checks": lambda: (np.floor(2 * a) + np.floor(2 * b)) % 2 < 1,
        "bars": lambda: b % 1 < 0.45,
    }
    return coats[breed.coat]()


def make_kinds(folder: Path, seed: int = 0) -> Path:
    """Write 200 classes into folders below `folder` (made; must not exist); 2,000 files."""
    rng = np.random.default_rng(seed)
    every = [Breed(*traits) for traits in itertools.product(COATS, BODIES, COLOURS, (0.2, 0.4))]
    names = [f"kind_{number:03}" for number in range(N_KINDS)]
    for name, breed in zip(names, every[:N_KINDS], strict=True):
        for number in range(PER_KIND):
            said = names[rng.integers(N_KINDS)] if rng.random() < WRONG_LABELS else name
            picture = _animal(breed, rng.integers(60, 200, 3), rng.uniform(0.75, 1.2), KIND_SIDES, rng)
            file = folder / said / f"{name}_{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, quality=int(rng.integers(70, 95)))
    return folder


def make_marks(folder: Path, seed: int = 0) -> Path:
    """Write the ten classes of 28 px into `folder` (made; must not exist); 960 files."""
    rng = np.random.default_rng(seed)
    number = 0
    for part, each in PER_MARK.items():
        for name in MARKS:
            for _ in range(each):
                said = MARKS[rng.integers(10)] if rng.random() < WRONG_LABELS else name
                number += 1
                file = folder / part / said / f"{number:05}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                _mark(name, rng).save(file)
    about = {"title": "Ten marks of 28 px", "licence": "made by the course's tests", "warning": "made pictures"}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def _mark(name: str, rng: np.random.Generator) -> Image.Image:
    times = 4
    side = SIDE * times
    cover = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(cover)
    width = int(rng.integers(7, 13))
    angle, scale = rng.uniform(-0.25, 0.25), rng.uniform(0.75, 1.0)
    shift = rng.uniform(-0.08, 0.08, 2)

    def at(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """From -1..1 to pixels, turned, scaled and a little bent."""
        turned = []
        for x, y in points:
            x, y = x + rng.normal(0, 0.05), y + rng.normal(0, 0.05)
            across = scale * (x * math.cos(angle) - y * math.sin(angle)) + shift[0]
            down = scale * (x * math.sin(angle) + y * math.cos(angle)) + shift[1]
            turned.append((side * (0.5 + 0.4 * across), side * (0.5 + 0.4 * down)))
        return turned

    def circle(radius: float) -> list[tuple[float, float]]:
        return [(radius * math.cos(t), radius * math.sin(t)) for t in np.linspace(0, 2 * math.pi, 20)]

    strokes = {
        "bar": [[(0, -1), (0, 1)]],
        "bolt": [[(0.5, -1), (-0.4, 0.1), (0.4, 0), (-0.5, 1)]],
        "cross": [[(-1, 0), (1, 0)], [(0, -1), (0, 1)]],
        "disc": [circle(0.35), circle(0.15), circle(0.55)],
        "fork": [[(0, 1), (0, 0), (-0.7, -1)], [(0, 0), (0.7, -1)]],
        "hook": [[(0.4, -1), (0.4, 0.4), (0, 0.9), (-0.5, 0.4)]],
        "ladder": [[(-0.6, -1), (-0.6, 1)], [(0.6, -1), (0.6, 1)], [(-0.6, 0), (0.6, 0)]],
        "ring": [circle(0.85)],
        "star": [[(-0.9, -0.5), (0.9, 0.5)], [(-0.9, 0.5), (0.9, -0.5)], [(0, -1), (0, 1)]],
        "wave": [[(x, 0.5 * math.sin(4 * x)) for x in np.linspace(-1, 1, 14)]],
    }
    for stroke in strokes[name]:
        pen.line(at(stroke), fill=255, width=width, joint="curve")
    small = np.asarray(cover.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=float)
    noisy = small * rng.uniform(0.6, 1.0) + rng.normal(18, 14, small.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


SETS: dict[str, Callable[[Path], Path]] = {"breeds": make_breeds, "marks": make_marks, "kinds": make_kinds}
