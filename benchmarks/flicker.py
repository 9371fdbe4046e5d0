"""What smoothing the map of the drops over time does to flicker.

    python benchmarks/flicker.py [--weights=W] [--photo=P] [--frames=16]
    python benchmarks/flicker.py --weights=lite --photo=P --shift=4 [--panes=12]

By default every frame is the same picture with fresh noise, as a camera at rest gives
it. With --shift the scene moves by so many pixels a frame behind rendered drops that
stay where they are, pane after pane, and what the scene itself changes is taken off.
What is printed is the mean absolute difference between neighbouring frames, in grey
levels: of the input, of the output for several weights of the frame before, and of the
last map (times 255). Without --weights the released layout with random weights stands
in.
"""

import argparse
from collections.abc import Iterator

import jax
import numpy as np
from tiles import load, scene

from configs import rendering
from raindrop.media import pictures, pixel_values
from raindrop.rendering.render import render
from raindrop.rendering.settings import Settings
from raindrop.restoration.smoothing import Smoothing

Frames = list[np.ndarray]


def change(frames: Frames) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(np.stack(frames).astype(np.float32), axis=0)).mean())


def at_rest(picture: np.ndarray, count: int, noise: float) -> tuple[Frames, Frames]:
    """`count` frames [H, W, 3] of one picture with noise, and what they show."""
    rng = np.random.default_rng(0)
    frames = [
        pixel_values.to_uint8((picture + rng.normal(0, noise, picture.shape)) / 255)
        for _ in range(count)
    ]
    return frames, [picture] * count


def behind_panes(
    picture: np.ndarray, count: int, size: int, shift: int, panes: int
) -> Iterator[tuple[Frames, Frames]]:
    """For each pane `count` frames of a scene that moves, and that scene without it."""
    settings = Settings(**(rendering.get_config().to_dict() | {"dry": 0.0}))
    draw = jax.jit(render, static_argnums=2)
    starts = range(0, count * shift, shift)
    clean = [picture[:size, start : start + size] for start in starts]
    if clean[-1].shape != (size, size, 3):
        raise SystemExit(f"the picture is too small for {count} shifts of {shift}")
    for pane in range(panes):
        key = jax.random.key(pane)
        wet = [draw(key, np.float32(one / 255), settings)[0] for one in clean]
        yield [pixel_values.to_uint8(np.asarray(one)) for one in wet], clean


def main() -> None:
    """Reads the flags and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights")
    parser.add_argument("--photo")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument(
        "--noise", type=float, default=4.0, help="grey levels, without --shift"
    )
    parser.add_argument("--size", type=int, default=192, help="side that is cut out")
    parser.add_argument("--shift", type=int, default=0, help="pixels a frame")
    parser.add_argument("--panes", type=int, default=12)
    args = parser.parse_args()
    if args.frames < 2 or args.shift < 0:
        parser.error("--frames must be at least 2, and --shift not negative")
    picture = pictures.read_image(args.photo) if args.photo else scene(512, 512)
    if args.shift:
        moving = args.frames, args.size, args.shift, args.panes
        videos = list(behind_panes(picture, *moving))
    else:
        top, left = ((side - args.size) // 2 for side in picture.shape[:2])
        picture = picture[top : top + args.size, left : left + args.size]
        videos = [at_rest(picture, args.frames, args.noise)]
    derainer = load(args.weights, 0)

    def mean_change(outputs: list[Frames]) -> float:
        errors = [
            change([np.float32(one) - other for one, other in zip(*pair, strict=True)])
            for pair in zip(outputs, (clean for _, clean in videos), strict=True)
        ]
        return float(np.mean(errors))

    print(f"input: {mean_change([frames for frames, _ in videos]):.3f}")
    for weight in (0.0, 0.5, 0.8, 0.9):
        outputs, maps = [], []
        for frames, _ in videos:
            results = derainer.run_many(
                frames, attention=True, raw=True, smoothing=Smoothing(weight), batch=4
            )
            outputs.append([255 * picture for picture, _ in results])
            maps.append(change([255 * maps[-1] for _, maps in results]))
        of_maps = np.mean(maps)
        print(f"weight {weight}: output {mean_change(outputs):.3f}, map {of_maps:.3f}")


if __name__ == "__main__":
    main()
