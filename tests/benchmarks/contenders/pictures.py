"""Pictures for the peers without a data path of their own: Pillow and torchvision's v2 transforms, in workers."""

import torch
from PIL import Image
from torchvision.transforms import v2

from tests.benchmarks.work import Work


def train_transform(work: Work) -> v2.Compose:
    """The ranges of the work. Pillow does the geometry (faster here than on tensors), straight at the final size."""
    return v2.Compose(
        [
            v2.Resize(work.size_px),
            v2.RandomCrop(work.size_px),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomApply([v2.Lambda(transposed)], p=0.5),
            v2.RandomApply(
                [
                    v2.RandomAffine(
                        work.max_rotate_deg, scale=(1, work.max_zoom), interpolation=v2.InterpolationMode.BILINEAR
                    )
                ],
                p=work.p_affine,
            ),
            v2.RandomApply([v2.ColorJitter(work.max_lighting, work.max_lighting)], p=work.p_lighting),
            v2.PILToTensor(),
        ]
    )


def transposed(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.TRANSPOSE)


def plain_transform(work: Work) -> v2.Compose:
    return v2.Compose([v2.Resize(work.size_px), v2.CenterCrop(work.size_px), v2.PILToTensor()])


class Pictures(torch.utils.data.Dataset):
    """(uint8 (3, H, W), class) of every file; decoded anew each time, as all these loops do."""

    def __init__(self, work: Work, part: str, transform):
        self.files = [(path, work.classes.index(label)) for path, label in work.parts[part]]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        path, target = self.files[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), target


def loader(work: Work, part: str, *, augmented: bool, shuffled: bool, **options) -> torch.utils.data.DataLoader:
    transform = train_transform(work) if augmented else plain_transform(work)
    return torch.utils.data.DataLoader(
        Pictures(work, part, transform), batch_size=work.batch_size, shuffle=shuffled, num_workers=work.workers,
        persistent_workers=work.workers > 0, pin_memory=torch.cuda.is_available(), **options,
    )  # fmt: skip
