"""The engines side by side: seconds for pictures and for a video, and what they give.

    python benchmarks/engines.py [--weights lite base release ...] [--size 480 720]
        [--frames=8] [--repeats=3]

`--weights` takes what `derain` takes, and `release` where those weights are not at
hand: their network with random weights, which is as fast. The pictures are smooth
waves. Engines that are not installed are left out, and said. "distance" is the
largest difference of an output picture (uint8) to JAX's in float32; of random weights
it says little.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from flax import traverse_util

from benchmarks import timing
from raindrop.errors import UserError
from raindrop.export import engines
from raindrop.media import video
from raindrop.restoration import files, jobs
from raindrop.restoration.derainer import Derainer
from raindrop.weights import LoadedGenerator, generators, layout, release

KINDS = (
    ("jax", "float32"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
)


def load(name: str) -> LoadedGenerator:
    """Weights, or random ones (He) for the release's network."""
    try:
        return generators.load_generator(name)
    except UserError:
        if name != "release":
            raise
    rng = np.random.default_rng(0)
    leaves = {
        path: rng.normal(
            0, (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.01, shape
        ).astype(np.float32)
        for path, shape in layout.parameter_shapes(release.FIELDS).items()
    }
    params = traverse_util.unflatten_dict(leaves, sep="/")
    return LoadedGenerator(release.FIELDS, params, "random weights")


def waves(height: int, width: int, time: float = 0) -> np.ndarray:
    """A smooth picture, uint8 [H, W, 3]; it moves with the time."""
    rows, columns = np.mgrid[:height, :width]
    pictures = [
        np.sin(rows / a + time) * np.cos(columns / (a + 4)) for a in (7, 11, 17)
    ]
    return np.uint8(127 + 100 * np.stack(pictures, -1))


def write_film(path: Path, frames: int, height: int, width: int) -> None:
    """A video of waves."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(waves(height, width, i / 5))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def compare(name: str, options: object, film: Path) -> None:
    """Prints the tables of one network."""
    loaded = load(name)
    derainers = {}
    for engine, precision in KINDS:
        label = f"{engine}, {precision}"
        try:
            made = engines.make(engine, loaded, precision)
        except UserError as error:
            print(f"{label} is left out: {error}")
            continue
        derainers[label] = Derainer(loaded, engine=made)
    picture = waves(*options.size)
    outputs = {label: d.derain(picture) for label, d in derainers.items()}
    reference = outputs["jax, float32"].astype(int)
    print(f"\n{name} ({loaded.source}): distance to JAX, grey levels")
    for label, output in outputs.items():
        print(f"{label:24}{np.abs(output - reference).max():9}")

    def one_picture(derainer: Derainer) -> object:
        return lambda: derainer.derain(picture)

    def one_film(derainer: Derainer) -> object:
        target = film.with_name("dry.mp4")
        again = jobs.Options(overwrite=True)
        return lambda: files.derain_files(derainer, film, target, again)

    size = " x ".join(map(str, options.size))
    for what, run in (
        (f"a picture of {size}", one_picture),
        (f"a video of {options.frames} frames of {size}, files and all", one_film),
    ):
        print(f"\n{name}: {what}")
        runs = {label: run(derainer) for label, derainer in derainers.items()}
        # The shapes and programs of the first turn are not timed.
        print(timing.table(timing.side_by_side(runs, options.repeats)), flush=True)


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--weights", nargs="+", default=["lite", "base", "release"])
    parser.add_argument("--size", type=int, nargs=2, default=(480, 720))
    parser.add_argument("--frames", type=int, default=8)
    options = parser.parse_args()
    print(f"machine: {timing.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "wet.mp4"
        write_film(film, options.frames, *options.size)
        assert video.probe(film).frames == options.frames
        for name in options.weights:
            compare(name, options, film)


if __name__ == "__main__":
    main()
