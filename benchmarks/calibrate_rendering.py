"""Rendered against real: the statistics that the renderer's ranges are chosen by.

    python benchmarks/calibrate_rendering.py --photos=PHOTOS --pairs=PAIRS

PHOTOS is a folder of clean photographs, PAIRS one with data/N_rain.png and
gt/N_clean.png (the Raindrop data set's layout). Prints quartiles of both kinds.
"""

import argparse
import dataclasses
import itertools
import sys
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs.rendering import get_config
from raindrop.evaluation.metrics import score
from raindrop.media.pictures import find_images, read_image
from raindrop.media.pixel_values import to_uint8
from raindrop.rendering.light import to_linear
from raindrop.rendering.render import render
from raindrop.rendering.settings import Settings

SIZE = (480, 720)
BANDS = (2, 4, 8, 16, 32, 64, 128, 1e9)  # wavelengths in pixels


def statistics(rainy: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Of one pair, uint8 [H, W, 3]; brightness in levels of 255, sizes in pixels."""
    difference = rainy.astype(np.float32) - clean
    wet = np.abs(difference).max(-1) > 30
    y = difference @ np.array([0.299, 0.587, 0.114], np.float32)
    out = score(rainy, clean)
    out["difference share"] = wet.mean()
    out["shift, mean"] = y.mean()
    out["shift inside, mean"] = y[wet].mean() if wet.any() else np.nan
    out["shift outside, median"] = np.median(y[~wet])
    out["drop size"] = drop_size(y)
    gone, ratio = contrast(rainy, clean)
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        out[f"contrast lost, {quantile:.0%}"] = np.quantile(gone, quantile)
    out["light, rainy / clean"] = ratio
    power = np.abs(np.fft.fft2(y - y.mean())) ** 2
    fy, fx = (np.fft.fftfreq(n) for n in y.shape)
    frequency = np.hypot(fy[:, None], fx[None])
    for short, long in itertools.pairwise(BANDS):
        band = (frequency <= 1 / short) & (frequency > 1 / long)
        name = f"power at {short}-{long:g} px" if long < 1e9 else f"power > {short} px"
        out[name] = power[band].sum() / power.sum()
    return out


def contrast(rainy: np.ndarray, clean: np.ndarray) -> tuple[np.ndarray, float]:
    """What water in front does to the scene's own contrast, in linear light.

    Around each pixel (a Gaussian of 5 pixels) a line is fitted through clean and rainy
    light, with one slope for the three channels: rainy = (1 - a) clean + glow.

    Returns:
      a wherever the scene has some contrast, and the ratio of mean lights.
    """
    rainy, clean = (np.asarray(to_linear(x / np.float32(255))) for x in (rainy, clean))
    blur = lambda x: cv2.GaussianBlur(x, (0, 0), 5)  # noqa: E731
    mean_rainy, mean_clean = blur(rainy), blur(clean)
    covariance = (blur(rainy * clean) - mean_rainy * mean_clean).sum(-1)
    variance = (blur(clean * clean) - mean_clean**2).sum(-1)
    enough = variance > 1e-4
    gone = 1 - covariance[enough] / variance[enough]
    return gone, rainy.mean() / clean.mean()


def drop_size(y: np.ndarray) -> float:
    """Twice the lag at which the smoothed |difference|'s autocorrelation is a half."""
    a = cv2.GaussianBlur(np.abs(y), (0, 0), 2)
    # Slower changes than the largest drops are of the pane or of the light.
    a = a - cv2.GaussianBlur(a, (0, 0), 40)
    correlation = np.fft.ifft2(np.abs(np.fft.fft2(a)) ** 2).real
    lag_y, lag_x = (np.fft.fftfreq(n) * n for n in a.shape)
    lag = np.hypot(lag_y[:, None], lag_x[None])
    rings = np.minimum(lag.astype(int), 120)
    profile = np.bincount(rings.ravel(), correlation.ravel()) / np.bincount(
        rings.ravel()
    )
    return 2.0 * np.argmax(profile < profile[0] / 2)


def rendered(folder: str, count: int, settings: Settings) -> list[dict[str, float]]:
    """Statistics of `count` rendered pictures of 720 x 480."""
    height, width = SIZE
    photographs = []
    for path in find_images(folder):
        photograph = read_image(path)
        if photograph.shape[0] >= height and photograph.shape[1] >= width:
            rows = photograph.shape[1] * height // width
            photograph = photograph[: max(rows, height)]
            photographs.append(
                cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
            )
    if not photographs:
        sys.exit(f"{folder} holds no photograph of at least {width} x {height} pixels")
    print(f"{len(photographs)} photographs, {count} renderings")
    draw = jax.jit(lambda key, clean: render(key, clean, settings)[0])
    rows = []
    for i in range(count):
        clean = photographs[i % len(photographs)]
        rainy = draw(jax.random.key(i), jnp.asarray(clean / 255, jnp.float32))
        rows.append(statistics(to_uint8(np.asarray(rainy)), clean))
    return rows


def real(folder: str) -> list[dict[str, float]]:
    """Statistics of the pairs of a folder with data/ and gt/."""
    rows = []
    for path in find_images(Path(folder) / "data"):
        twin = Path(folder, "gt", path.name.replace("_rain", "_clean"))
        rows.append(statistics(read_image(path), read_image(twin)))
    return rows


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--count", type=int, default=48)
    arguments = parser.parse_args()
    # A dry pane has nothing to compare.
    settings = dataclasses.replace(Settings(**get_config()), dry=0.0)
    ours = rendered(arguments.photos, arguments.count, settings)
    theirs = real(arguments.pairs)
    print(f"{'':24}{'real, quartiles':>30}{'rendered, quartiles':>30}")
    for name in theirs[0]:
        cells = [
            np.nanquantile([row[name] for row in rows], (0.25, 0.5, 0.75))
            for rows in (theirs, ours)
        ]
        low, middle, high = cells[0][0], cells[1][1], cells[0][2]
        print(
            f"{name:24}"
            + "".join("   " + "".join(f"{v:9.3f}" for v in cell) for cell in cells)
            + ("" if low <= middle <= high else "   rendered median outside")
        )


if __name__ == "__main__":
    main()
