"""The rows of the table: the task, who takes part, how often, and what is to be reached."""

from dataclasses import dataclass, field

EVERYBODY = ("ours", "fastai default", "fastai tuned", "plain", "timm", "lightning")
WITH_DATA_OF_THEIR_OWN = ("ours", "fastai default", "fastai tuned", "plain", "timm")
FEW = ("ours", "fastai default", "fastai tuned", "plain")
STARTS = ("ours", "fastai default", "bare torch")
FORCED = ("ours, float32", "ours, bfloat16")  # beside the precision that this kit has timed and chosen
IN_FLOAT32 = "plain, float32"


@dataclass(frozen=True)
class Row:
    """`targets`: at least this many times fastai's default, and the best tuned peer's; 0: nothing is asked."""

    key: str
    title: str
    task: str
    contenders: tuple[str, ...] = EVERYBODY
    rounds: int = 5
    kind: str = "warm"  # "warm": processes that stay; "cold": a new process each time; "script": lines of Python
    work: dict = field(default_factory=dict)  # what differs from the bench's work
    warm_up: bool = True  # each process does the task once before it counts
    targets: tuple[float, float] = (0.0, 0.0)
    least: dict[str, float] = field(default_factory=dict)  # contender -> at least this many times its seconds
    memory_targets: tuple[float, float] = (0.0, 0.0)  # at most this share; 0: no row for memory
    note: str = ""


RESNET = {"arch": "resnet34"}
FRESH = "from files, nothing cached"
STEADY = "second and later epochs, validation included"
BOTH = (*EVERYBODY, *FORCED, IN_FLOAT32)
AT_MOST_A_FIFTH_MORE = {"bare torch": 1 / 1.2}

# What `make bench` measures: on 2,144 pictures about two hours on two quiet cores. Eager, the loops of timm and
# Lightning take the steps of the plain one: in the last rows, which take long, not all of them take part.
FULL = (
    Row("import", "import of what a lesson needs", "import", STARTS, kind="script", least=AT_MOST_A_FIFTH_MORE,
        note="bare torch is `import torch`"),
    Row("first", "first picture shown, from the start of Python", "first_picture", STARTS, kind="script",
        least=AT_MOST_A_FIFTH_MORE,
        note="nine files in a figure, as a PNG file; bare torch is torch, Pillow and matplotlib's Figure imported, and "
        "these nine opened and drawn by `imshow` in a figure of that size"),
    Row("R2", "R1+R2 data of an epoch, second and later, 224 px", "batches", WITH_DATA_OF_THEIR_OWN,
        work={"size_px": 224}, targets=(15, 5)),
    Row("R7", "R7 TTA n=4, lite0, 128 px", "tta", BOTH, rounds=3, targets=(6, 2.5),
        note="after training: our pixels are decoded"),
    Row("R4", "R4 unfrozen epoch, lite0, 128 px", "epoch", (*FEW, "timm compiled", "lightning", *FORCED), rounds=1,
        targets=(3, 1.4), least={"timm compiled": 1}, note=STEADY),
    Row("R6", "R3/R6 five head epochs, lite0, 128 px", "head_epochs", BOTH, rounds=1, warm_up=False, targets=(20, 6),
        note=f"{FRESH}, feature extraction included; no augmentation for anybody; BatchNorm trains only in fastai "
        "default"),
    Row("R5", "R5 fine_tune(1+3), lite0, 128 px", "fine_tune", (*FEW, "lightning", *FORCED), rounds=1, kind="cold",
        warm_up=False, targets=(3, 1.8), memory_targets=(0.45, 0.7),
        note="from the start of Python, imports included, " + FRESH),
    Row("R4r", "R4 unfrozen epoch, resnet34, 128 px", "epoch", (*FEW, *FORCED, IN_FLOAT32), rounds=1, work=RESNET,
        targets=(2, 1), note=STEADY),
)  # fmt: skip

# what is measured only when it is asked for by its key
EXTRA = (
    Row("batch", "first augmented batch shown, from the start of Python", "first_batch", ("ours", "fastai default"),
        kind="script", note="ours decodes every picture before it shows the first batch; fastai those of the batch"),
    Row("R1", "R1 decode and presize everything, 128 px", "decode", WITH_DATA_OF_THEIR_OWN, note=FRESH),
    Row("R9", "R9 ten training steps on a resident batch, lite0, 128 px", "step", (*EVERYBODY, "timm compiled")),
    Row("R9r", "R9 ten training steps on a resident batch, resnet34, 128 px", "step", work=RESNET),
    Row("R6r", "R3/R6 five head epochs, resnet34, 128 px", "head_epochs", rounds=3, work=RESNET, note=FRESH),
    Row("R10", "R10 unfrozen epoch, lite0, 128 px, peers read pictures we presized", "epoch",
        ("ours", "fastai tuned", "plain"), rounds=3, work={"presized": "yes"}, note=STEADY),
)  # fmt: skip

ON_A_GPU = ("ours", "ours, graphs", "fastai default", "fastai tuned", "plain", "timm", "timm compiled")
GPU = (
    Row(
        "G4",
        "R4 unfrozen epoch, lite0, 128 px",
        "epoch",
        ON_A_GPU,
        rounds=3,
        targets=(3, 1.4),
        least={"timm compiled": 1},
        note=STEADY,
    ),
    Row("G9", "R9 ten training steps on a resident batch, lite0, 128 px", "step", ON_A_GPU),
)

SMALL = {"limit": 384, "size_px": 96}
QUICK = (
    Row("import", "import of what a lesson needs", "import", STARTS, rounds=2, kind="script",
        least=AT_MOST_A_FIFTH_MORE),
    Row("first", "first picture shown, from the start of Python", "first_picture", STARTS, rounds=2, kind="script",
        least=AT_MOST_A_FIFTH_MORE),
    Row("R2", "R1+R2 data of an epoch, second and later, 96 px", "batches", FEW, work=SMALL),
    Row("R6", "R3/R6 five head epochs, lite0, 96 px", "head_epochs", FEW, rounds=2, work=SMALL, note=FRESH),
    Row("R7", "R7 TTA n=4, lite0, 96 px", "tta", FEW, rounds=3, work=SMALL),
    Row("R4", "R4 unfrozen epoch, lite0, 96 px", "epoch", FEW, rounds=3, work=SMALL, note=STEADY),
    Row("R5", "R5 fine_tune(1+3), lite0, 96 px", "fine_tune", ("ours", "fastai default", "plain"), rounds=1,
        kind="cold", warm_up=False, work={"limit": 192, "size_px": 96}, memory_targets=(0.45, 0.7), note=FRESH),
)  # fmt: skip

# what a lesson's first cells do; arguments: the folder of the pictures, the figure's file
OURS_FILES = """
import sys
from helpers.data.dataset import ImageData
from data_setup.items import find_images
from helpers.learner import Learner
from helpers.figures.pictures import show_pictures
from data_setup.base.pictures import read_image
show_pictures([read_image(file) for file in find_images(sys.argv[1])[:9]]).figure.savefig(sys.argv[2])
"""
FASTAI_FILES = """
import sys
from fastai.vision.all import *
show_images([PILImage.create(file) for file in get_image_files(sys.argv[1])[:9]], nrows=3)
plt.savefig(sys.argv[2])
"""
BARE_FILES = """
import sys
from pathlib import Path
import torch
from matplotlib.figure import Figure
from PIL import Image
figure = Figure(figsize=(6.5, 6.5), dpi=90)
files = sorted(file for file in Path(sys.argv[1]).rglob("*") if file.suffix in (".png", ".jpg"))
for axes, file in zip(figure.subplots(3, 3).flat, files):
    axes.imshow(Image.open(file), cmap="gray")
figure.savefig(sys.argv[2])
"""
OURS_BATCH = """
import sys
from helpers.data.augment import top_down
from helpers.data.dataset import ImageData
from helpers.figures.pictures import show_batch
show_batch(ImageData.from_folders(sys.argv[1], size=128, augment=top_down()), n=9).figure.savefig(sys.argv[2])
"""
FASTAI_BATCH = """
import sys
from fastai.vision.all import *
dls = ImageDataLoaders.from_folder(
    sys.argv[1], train="train", valid="valid", item_tfms=Resize(160), batch_tfms=aug_transforms(size=128))
dls.train.show_batch(max_n=9)
plt.savefig(sys.argv[2])
"""
SCRIPTS = {
    ("import", "ours"): "from helpers.data.dataset import ImageData; from helpers.learner import Learner; "
    "from helpers.figures.pictures import show_batch",
    ("import", "bare torch"): "import torch",
    ("import", "fastai default"): "from fastai.vision.all import *",
    ("first_picture", "ours"): OURS_FILES,
    ("first_picture", "bare torch"): BARE_FILES,
    ("first_picture", "fastai default"): FASTAI_FILES,
    ("first_batch", "ours"): OURS_BATCH,
    ("first_batch", "fastai default"): FASTAI_BATCH,
}
