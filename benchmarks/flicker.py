"""What smoothing the attention map over time does to flicker on a static scene.

    python benchmarks/flicker.py [--weights=W] [--photo=P] [--frames=16]

Every frame is the same picture with fresh noise, as a camera at rest gives it. What is
printed is the mean absolute difference between neighbouring frames, in grey levels: of
the input, of the output for several weights of the frame before, and of the last map
(times 255). Without --weights the released layout with random weights stands in.
"""

import argparse

import numpy as np
from tiles import load, scene

from raindrop.media import pictures, pixel_values
from raindrop.restoration.smoothing import Smoothing


def change(frames: list[np.ndarray]) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(np.stack(frames).astype(np.float32), axis=0)).mean())


def main() -> None:
    """Reads the flags and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights")
    parser.add_argument("--photo")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--noise", type=float, default=4.0, help="grey levels")
    parser.add_argument("--size", type=int, default=192, help="side that is cut out")
    args = parser.parse_args()
    picture = pictures.read_image(args.photo) if args.photo else scene(512, 512)
    top, left = ((side - args.size) // 2 for side in picture.shape[:2])
    picture = picture[top : top + args.size, left : left + args.size]
    rng = np.random.default_rng(0)
    frames = [
        pixel_values.to_uint8(
            (picture + rng.normal(0, args.noise, picture.shape)) / 255
        )
        for _ in range(args.frames)
    ]
    derainer = load(args.weights, 0)
    print(f"input: {change(frames):.3f}")
    for weight in (0.0, 0.5, 0.8, 0.9):
        results = derainer.run_many(
            frames, attention=True, raw=True, smoothing=Smoothing(weight), batch=4
        )
        outputs = change([255 * picture for picture, _ in results])
        maps = change([255 * maps[-1] for _, maps in results])
        print(f"weight {weight}: output {outputs:.3f}, map {maps:.3f}", flush=True)


if __name__ == "__main__":
    main()
