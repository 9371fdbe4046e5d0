"""A classifier that tells rendered panes from real ones: what gives a pane away?

    python main.py render PHOTOS RENDERED --config=configs/lite.py
    python benchmarks/tell_apart.py --rendered=RENDERED/data --real=FOLDER \
        [--sheet=FILE.png] [--weights=imagenet]
    python benchmarks/tell_apart.py --rendered=RENDERED/gt --real=FOLDER  # to compare

Both are folders of pictures. Each is scaled to a long side of 720 pixels and cut into
crops, in grey and of one contrast, since a scene's colours tell nothing about its pane.
A crop becomes the means and deviations of VGG-16's features, and a linear classifier
with ridge tells the kinds apart; it never saw another crop of the picture that it is
asked about.

Prints how often a real crop looks more real than a rendered one (0.5: the two cannot be
told apart), of all and of each real picture. Photographs differ from real panes in
their subjects too: the dry ones (RENDERED/gt) say how much of it that is. The sheet has
four rows: real crops that look real, real ones that look rendered, rendered ones that
look rendered, and rendered ones that look real.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from raindrop.media.pictures import find_images, read_image, write_image
from raindrop.weights.vgg16 import load_vgg16

SIDE, CROP, FOLDS, RIDGE = 720, 96, 8, 300.0
LAYERS = ("relu1_2", "relu2_2", "relu3_3")


def crops(folder: str, most: int) -> tuple[list[str], np.ndarray]:
    """Names of the pictures and uint8 crops [N, CROP, CROP, 3], `most` of a picture."""
    names, found = [], []
    for path in find_images(folder):
        image = Image.fromarray(read_image(path))
        share = SIDE / max(image.size)
        image = image.resize([max(CROP, round(side * share)) for side in image.size])
        x = np.asarray(image)
        rows, columns = x.shape[0] // CROP, x.shape[1] // CROP
        x = x[: rows * CROP, : columns * CROP]
        x = x.reshape(rows, CROP, columns, CROP, 3).swapaxes(1, 2)
        x = x.reshape(-1, CROP, CROP, 3)
        x = x[np.random.default_rng(0).permutation(len(x))[:most]]
        names += [path.stem] * len(x)
        found.append(x)
    return names, np.concatenate(found)


def describe(x: np.ndarray, weights: str) -> np.ndarray:
    """Means and deviations of VGG-16's features of crops, [N, F]."""
    vgg = load_vgg16(weights, LAYERS)

    @jax.jit
    def of(batch: jax.Array) -> jax.Array:
        features = vgg.module.apply({"params": vgg.params}, batch)
        parts = [features[layer] for layer in LAYERS]
        means = [jnp.mean(part, (1, 2)) for part in parts]
        deviations = [jnp.std(part, (1, 2)) for part in parts]
        return jnp.log1p(jnp.concatenate(means + deviations, -1))

    grey = x.mean(-1, keepdims=True, dtype=np.float32) / 255
    grey -= grey.mean((1, 2), keepdims=True)
    grey = 0.5 + 0.2 * grey / (grey.std((1, 2), keepdims=True) + 0.02)
    batches = [grey[i : i + 32].repeat(3, -1) for i in range(0, len(x), 32)]
    return np.concatenate([np.asarray(of(b)) for b in batches])


def direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The linear fit of y (-1 or 1) by features [N, F], both kinds counting alike."""
    share = np.where(y > 0, 0.5 / np.sum(y > 0), 0.5 / np.sum(y < 0)) * len(y)
    centred = x - np.average(x, 0, share)
    weighted = centred * share[:, None]
    gram = weighted.T @ centred + RIDGE * np.eye(x.shape[1])
    return np.linalg.solve(gram, weighted.T @ y)


def realness(x: np.ndarray, kinds: np.ndarray, pictures: list[str]) -> np.ndarray:
    """How real each crop looks to a classifier that never saw its picture."""
    names, rng = np.unique(pictures), np.random.default_rng(0)
    fold = dict(zip(names, rng.permutation(len(names)) % FOLDS, strict=True))
    folds = np.array([fold[name] for name in pictures])
    out = np.zeros(len(x))
    for held in range(FOLDS):
        inside = folds == held
        spread = x[~inside].std(0) + 1e-6
        fit = direction(x[~inside] / spread, kinds[~inside])
        out[inside] = (x[inside] - x[~inside].mean(0)) / spread @ fit
    return out


def main() -> None:
    """Prints the table, and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rendered", required=True)
    parser.add_argument("--real", required=True)
    parser.add_argument("--weights", default="imagenet", help="of VGG-16")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    rendered, x = crops(arguments.rendered, 3)
    real, z = crops(arguments.real, 12)
    pixels = np.concatenate([x, z])
    kinds = np.repeat([-1.0, 1.0], [len(x), len(z)])
    features = describe(pixels, arguments.weights)
    pictures = [f"rendered {n}" for n in rendered] + [f"real {n}" for n in real]
    score = realness(features, kinds, pictures)
    ours, theirs = score[kinds < 0], score[kinds > 0]
    ranks = np.searchsorted(np.sort(ours), theirs) / len(ours)
    print(f"{len(ours)} rendered and {len(theirs)} real crops")
    print(f"a real crop looks more real than a rendered one: {ranks.mean():.3f}")
    for name in sorted(set(real), key=lambda n: -ranks[np.array(real) == n].mean()):
        print(f"{name:30} {ranks[np.array(real) == name].mean():.2f}")
    if arguments.sheet:
        rows, count = [], min(12, len(x), len(z))
        for kind, sign in ((z, -theirs), (z, theirs), (x, ours), (x, -ours)):
            best = np.argsort(sign)[:count]
            rows.append(np.concatenate(list(kind[best]), 1))
        write_image(arguments.sheet, np.concatenate(rows))


if __name__ == "__main__":
    main()
