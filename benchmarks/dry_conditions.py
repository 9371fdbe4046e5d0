"""What weights change in dry photographs that look unusual: it should be nothing.

    python benchmarks/dry_conditions.py --photos=FOLDER [--weights=lite] [--count=50]

Each photograph (at most 480 x 320 pixels of it) is seen under every condition: grey,
warm, noisy, overexposed, ... A line says how far the result is from what went in: the
three lowest PSNR, and how many of the photographs are below 34 and below 40 dB. A
condition with many of them is one that the renderer never showed the network.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

import raindrop
from raindrop.media import pictures

Condition = Callable[[Image.Image], Image.Image]
_WIDTH, _HEIGHT = 480, 320


def _values(change: Callable[[np.ndarray], np.ndarray]) -> Condition:
    """Of a function of encoded values, float [H, W, 3] in [0, 255]."""

    def condition(image: Image.Image) -> Image.Image:
        values = np.clip(change(np.asarray(image, np.float64)), 0, 255)
        return Image.fromarray(np.uint8(np.rint(values)))

    return condition


def _light(gain: float) -> Condition:
    """So many times the light."""
    return _values(lambda x: 255 * (gain * (x / 255) ** 2.2) ** (1 / 2.2))


def _noise(deviation: float) -> Condition:
    rng = np.random.default_rng(0)
    return _values(lambda x: x + rng.normal(0, deviation, x.shape))


def _jpeg(quality: int) -> Condition:
    def condition(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return condition


def _vignette(x: np.ndarray) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, side) for side in x.shape[:2])
    distance = (rows[:, None] ** 2 + columns**2) / 2
    return x * (1 - 0.8 * distance)[..., None]


def _lamps(x: np.ndarray) -> np.ndarray:
    """By night, with two overexposed lamps and the glare around them."""
    rows, columns = np.ogrid[: x.shape[0], : x.shape[1]]
    light = 0.1 * (x / 255) ** 2.2
    for down, right, radius in ((0.3, 0.25, 8), (0.45, 0.7, 16)):
        away = np.hypot(rows - down * x.shape[0], columns - right * x.shape[1]) / radius
        light += (6 / (1 + away**4) + 0.8 / (1 + away**2.5))[..., None]
    return 255 * light ** (1 / 2.2)


CONDITIONS: dict[str, Condition] = {
    "as it is": lambda x: x,
    "1.5 times the light": _light(1.5),
    "2.5 times": _light(2.5),
    "5 times": _light(5.0),
    "a tenth": _light(0.1),
    "a fiftieth": _light(0.02),
    "two lamps at night": _values(_lamps),
    "grey": lambda x: ImageOps.grayscale(x).convert("RGB"),
    "twice the colour": lambda x: ImageEnhance.Color(x).enhance(2),
    "warm": _values(lambda x: x * [1.15, 1.0, 0.7]),
    "cold": _values(lambda x: x * [0.6, 0.9, 1.15]),
    "contrast 0.4": lambda x: ImageEnhance.Contrast(x).enhance(0.4),
    "contrast 1.8": lambda x: ImageEnhance.Contrast(x).enhance(1.8),
    "equalized": ImageOps.equalize,
    "even haze": _values(lambda x: 0.35 * x + 0.65 * 210),
    "glow": lambda x: Image.blend(x, x.filter(ImageFilter.GaussianBlur(12)), 0.6),
    "noise of 8 levels": _noise(8),
    "noise of 20 levels": _noise(20),
    "JPEG quality 30": _jpeg(30),
    "JPEG quality 10": _jpeg(10),
    "blur of 2 pixels": lambda x: x.filter(ImageFilter.GaussianBlur(2)),
    "blur of 6 pixels": lambda x: x.filter(ImageFilter.GaussianBlur(6)),
    "sharpened": lambda x: x.filter(ImageFilter.UnsharpMask(2, 250, 0)),
    "median of 7 pixels": lambda x: x.filter(ImageFilter.MedianFilter(7)),
    "half the size": lambda x: ImageOps.scale(x, 0.5, Image.Resampling.BOX),
    "vignette": _values(_vignette),
    "on its side": lambda x: x.rotate(90, expand=True),
}


def main() -> None:
    """Reads the flags and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", default="lite")
    parser.add_argument("--count", type=int, default=50, help="photographs at most")
    args = parser.parse_args()
    files = sorted(path for path in args.photos.iterdir() if path.is_file())
    if not files:
        parser.error(f"{args.photos} holds no photographs")
    files = files[:: -(-len(files) // args.count)]
    photographs = [Image.fromarray(pictures.read_image(path)) for path in files]
    derainer = raindrop.load(args.weights)
    print(f"{args.weights}, {len(files)} photographs")
    for name, condition in CONDITIONS.items():
        scores = []
        for photograph in photographs:
            seen = np.asarray(condition(photograph.crop((0, 0, *_fit(photograph)))))
            result = derainer.derain(seen).astype(np.float64)
            error = max(float(np.mean((result - seen) ** 2)), 1e-3)
            scores.append(10 * np.log10(255**2 / error))
        worst = ", ".join(f"{score:.1f}" for score in sorted(scores)[:3])
        below = [sum(score < limit for score in scores) for limit in (34, 40)]
        print(f"{name:20} worst {worst}; below 34: {below[0]}, 40: {below[1]}")


def _fit(image: Image.Image) -> tuple[int, int]:
    return min(image.width, _WIDTH), min(image.height, _HEIGHT)


if __name__ == "__main__":
    main()
