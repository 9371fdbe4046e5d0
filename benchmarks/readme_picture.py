"""What the shipped weights gain behind rendered drops, and the README's picture of it.

    python benchmarks/readme_picture.py [--output=docs/cleaned.jpg] [--quality=75]
        [--light=4]

Four photographs that come with scikit-image, and that the weights were not trained on,
behind three rendered panes each. Prints PSNR and SSIM (protocol `release`) of all
twelve, and shows the two whose gain is closest to the average: no better and no worse
ones are picked. With `--quality` the panes come out of JPEG files of that quality. With
`--light` the scenes have so many times the light of their photographs, and it is told
how dark those parts come out that are white then.
"""

import argparse
import io
import sys
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))

import raindrop
from configs import rendering
from raindrop.evaluation.metrics import score
from raindrop.media import pictures
from raindrop.rendering.light import to_encoded, to_linear
from raindrop.rendering.render import render
from raindrop.rendering.settings import Settings

PANES = 3  # of each photograph
PHOTOGRAPHS = {
    "chelsea": lambda: data.chelsea()[:, :448],
    "coffee": lambda: data.coffee()[48:348, 76:524],
    "astronaut": lambda: data.astronaut()[:300, :448],
    "rocket": lambda: data.rocket()[:300, 64:512],
}


def main() -> None:
    """Renders, cleans, scores, and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="others than those that come with raindrop")
    parser.add_argument("--output", type=Path, help="a JPEG of two of the twelve")
    parser.add_argument("--quality", type=int, help="of JPEG files of the panes")
    parser.add_argument("--light", type=float, default=1.0, help="4: overexposed")
    options = parser.parse_args()
    settings = Settings(**(rendering.get_config().to_dict() | {"dry": 0.0}))
    draw = jax.jit(render, static_argnums=2)
    derainer = raindrop.load(options.weights)
    rows, gains, whites = [], [], []
    for number, (name, read) in enumerate(PHOTOGRAPHS.items()):
        clean = read()
        if options.light != 1:
            linear = options.light * to_linear(np.float32(clean / 255))
            clean = pictures.to_uint8(np.asarray(to_encoded(linear)))
        white = (clean == 255).all(-1)
        for pane in range(PANES):
            key = jax.random.key(PANES * number + pane)
            rainy = draw(key, np.float32(clean / 255), settings)[0]
            rainy = pictures.to_uint8(np.asarray(rainy))
            if options.quality:
                rainy = out_of_file(rainy, options.quality)
            output = derainer.derain(rainy)
            before, after = score(rainy, clean), score(output, clean)
            gains.append([after[k] - before[k] for k in ("psnr", "ssim")])
            rows.append(np.concatenate([rainy, output], axis=1))
            if white.any():
                whites.append([255 - x[white].mean() for x in (rainy, output)])
            psnr, ssim = gains[-1]
            print(f"{name} {pane}: {before['psnr']:.2f} dB {psnr:+.2f} dB {ssim:+.3f}")
    psnr, ssim = np.mean(gains, axis=0)
    print(f"mean of {len(gains)}: {psnr:+.2f} dB, {ssim:+.3f}")
    if options.light != 1 and whites:
        before, after = np.mean(whites, axis=0)
        print(f"white parts: {before:.1f} levels below white, then {after:.1f}")
    if options.output:
        closest = np.argsort([abs(gain[0] - psnr) for gain in gains])
        # Of two photographs.
        first = closest[0]
        second = next(i for i in closest if i // PANES != first // PANES)
        sheet = np.concatenate([rows[first], rows[second]])
        Image.fromarray(sheet).save(options.output, quality=88)


def out_of_file(picture: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG file keeps of uint8 RGB [H, W, 3]."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


if __name__ == "__main__":
    main()
