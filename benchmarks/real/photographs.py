"""Photographs as an ImageNet classifier takes them, from scikit-image and scikit-learn, into one .npz file.

    python benchmarks/real/photographs.py photographs.npz

The shorter side is resized to 256 with antialiasing and a centred square of 224 is cut out. No labels: a
study then takes the model's own answers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

NAMES = ("chelsea", "coffee", "rocket", "astronaut")
SCENES = ("china.jpg", "flower.jpg")


def fitted(picture: Image.Image, *, resize: int = 256, crop: int = 224) -> np.ndarray:
    """(3, crop, crop) in [0, 1], on the 8-bit grid."""
    wide, tall = picture.size
    share = resize / min(wide, tall)
    small = picture.convert("RGB").resize(
        (round(wide * share), round(tall * share)), Image.Resampling.BICUBIC
    )
    left, top = (small.size[0] - crop) // 2, (small.size[1] - crop) // 2
    pixels = np.asarray(small.crop((left, top, left + crop, top + crop)), dtype=np.float32) / 255
    return pixels.transpose(2, 0, 1)


def main(target: Path) -> None:
    pictures = [Image.fromarray(getattr(skimage.data, name)()) for name in NAMES]
    pictures += [Image.fromarray(sklearn.datasets.load_sample_image(name)) for name in SCENES]
    np.savez_compressed(target, inputs=np.stack([fitted(picture) for picture in pictures]))
    print(f"{len(pictures)} photographs in {target}: {', '.join((*NAMES, *SCENES))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
