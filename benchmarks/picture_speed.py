"""Reading and augmenting training pictures, beside torchvision's usual transforms, and the pixels of both."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from benchmarks.backbone_speed import Pair
from classification.data.augment import area_box, flip_half, scale_jitter_box
from classification.data.cifar10 import all_views, augmented
from pictures.decoding import Box, decode_crop, decode_image, read_file
from pictures.opening import open_picture
from training.config import data_root

SIZE = 224
JITTER = (256, 480)  # He et al. 2015, §3.4
COUNT = 60  # pictures a row
CIFAR_BATCH = 128

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "Pillow": lambda file: np.array(open_picture(file).convert("RGB")),
    "torchvision.io": lambda file: decode_jpeg(torch.frombuffer(bytearray(file), dtype=torch.uint8)),
}
Choose = Callable[[np.random.Generator, int, int], Box]
CHOICES: dict[str, Choose] = {
    "8-100 % of the area": area_box,
    "short side in [256, 480]": partial(scale_jitter_box, size=SIZE, short_side=JITTER),
}


def picture_calls(device: str) -> Iterator[Pair]:
    """JPEGs decoded whole, and to uint8 crops of 224 pixels; the augmentation of CIFAR-10; all on the CPU.

    The peers are what torchvision's users write: RandomResizedCrop of the decoded picture; resize of the
    whole picture to a random short side, and a random crop of that.
    """
    for name, files in photographs().items():
        ours = partial(decode_all, files, lambda file: decode_image(file, ""))
        for library, decode in DECODERS.items():
            yield f"JPEG decoded whole (peer: {library}), {name}", ours, partial(decode_all, files, decode)
        for what, choose in CHOICES.items():
            peer = partial(read_with, files, resized_crop() if choose is area_box else jittered_crop())
            yield f"JPEG to a crop of {SIZE}, {what}, {name}", partial(read_crops, files, choose), peer
    yield augmentation_calls()


def decode_all(files: Sequence[bytes], decode: Callable[[bytes], Any]) -> None:
    """Decodes all, one after the other."""
    for file in files:
        decode(file)


def photographs(count: int = COUNT) -> dict[str, list[bytes]]:
    """Files of 500x375 pixels by where they come from: PASCAL VOC, generated where that is not at hand."""
    found = {}
    for folder in sorted((data_root() / "VOCdevkit").glob("VOC*/JPEGImages")):
        files = [content for path in sorted(folder.glob("*.jpg")) if is_usual(content := read_file(path))]
        if files:
            found[folder.parent.name] = files[:count]
    found = found or {"generated": [generate(seed) for seed in range(count)]}
    return {
        f"{len(files)} of {name}, {sum(map(len, files)) / len(files) / 1e3:.0f} kB each": files
        for name, files in found.items()
    }


def is_usual(content: bytes) -> bool:
    """Whether it is a colour picture of 500x375, either way."""
    with open_picture(content) as image:
        return sorted(image.size) == [375, 500] and image.mode == "RGB"


def generate(seed: int) -> bytes:
    """A JPEG of coloured noise, blurred to about the size in bytes that photographs have."""
    rng = np.random.default_rng(seed)
    noise = (rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((6, 8), (94, 125)))
    coarse, fine = (Image.fromarray(n).resize((500, 375), Image.Resampling.BICUBIC) for n in noise)
    file = BytesIO()
    Image.blend(coarse, fine, 0.3).save(file, "JPEG", quality=92)
    return file.getvalue()


def read_crops(files: Sequence[bytes], choose: Choose) -> Tensor:
    """Ours: (N, 3, 224, 224) uint8, flipped at random."""
    rng = np.random.default_rng(0)
    crops = [flip_half(rng, decode_crop(file, "", partial(choose, rng), SIZE)) for file in files]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def read_with(files: Sequence[bytes], transform: Callable[[Image.Image], Tensor]) -> Tensor:
    """The peer: Pillow decodes, torchvision transforms; (N, 3, 224, 224) uint8."""
    return torch.stack([transform(open_picture(file).convert("RGB")) for file in files])


def resized_crop() -> Callable[[Image.Image], Tensor]:
    """torchvision's reference for ImageNet, as far as the uint8 tensor."""
    steps = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    return v2.Compose(steps)


def jittered_crop() -> Callable[[Image.Image], Tensor]:
    """The paper's crop, as the text says it: the whole picture resized, then a crop."""
    rest = v2.Compose([v2.RandomCrop(SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()])

    def transform(image: Image.Image) -> Tensor:
        short_side = int(torch.randint(JITTER[0], JITTER[1] + 1, ()))
        return rest(v2.functional.resize(image, [short_side], antialias=True))

    return transform


def cifar_augmentation() -> Callable[[Image.Image], Tensor]:
    """torchvision's transforms as most CIFAR scripts have them."""
    normalize = transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    moved = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*moved, transforms.ToTensor(), normalize])


def augmentation_calls() -> Pair:
    """Ten batches of 128: ours from uint8 to mean-free, cropped and flipped; the peer picture by picture."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (CIFAR_BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    seeds = torch.randint(2**62, (CIFAR_BATCH,), generator=generator)
    mean_views = all_views(images.float().mean(0) / 255)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    transform = cifar_augmentation()

    def ours() -> None:
        for _ in range(10):
            augmented(images, mean_views, seeds)

    def peer() -> None:
        for _ in range(10):
            torch.stack([transform(picture) for picture in pictures])

    return f"CIFAR-10 augmentation, 10 batches of {CIFAR_BATCH}", ours, peer


def pixel_errors() -> list[str]:
    """How far our crops are from those that Pillow makes alone of the same parts: one line for each size."""
    files = [file for group in photographs().values() for file in group]
    lines = []
    for size, what in ((SIZE, "decoded whole"), (40, "most of them decoded at a half or a quarter")):
        errors = [crop_error(file, np.random.default_rng(number), size) for number, file in enumerate(files)]
        lines.append(
            f"Crops of {size} pixels, {what}, differ from Pillow's by {np.mean(errors):.2f} of 255 on "
            f"average, by {max(errors):.2f} in the worst of {len(errors)} pictures."
        )
    return lines


def crop_error(content: bytes, rng: np.random.Generator, size: int) -> float:
    """Mean absolute difference of a central crop, of a half to the whole short side, from Pillow's."""
    with open_picture(content) as image:
        width, height = image.size
        whole = image.convert("RGB")
    side = int(rng.uniform(0.5, 1) * min(width, height)) // 8 * 8
    left, top = (width - side) // 16 * 8, (height - side) // 16 * 8
    box = (left, top, left + side, top + side)
    expected = np.asarray(whole.crop(box).resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    return float(np.abs(decode_crop(content, "", lambda h, w: box, size) - expected).mean())
