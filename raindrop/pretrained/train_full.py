r"""Trains the full generator on a machine that has JAX and no TensorFlow.

One command, for a GPU that is lent by the minute; the same command goes on from where
the last one ended:

    python -m raindrop.pretrained.train_full --photos=PHOTOS --workdir=runs/full \
        --minutes=9

It wants jax, flax, optax, orbax-checkpoint, ml-collections and Pillow, no more. The
recipe is `configs/full.py`; photographs (those held out for evaluation are left out),
augmentation, renderer, losses, step and checkpoints are those of `main.py`, which can
evaluate the run, or go on with it. What differs:

- a piece ends by the clock, and is saved at its end alone; it evaluates nothing;
- crops are drawn with replacement, by NumPy: a photograph may come twice before another
  has come once, and no crop is the one that `main.py` draws at that step;
- all photographs are decoded at the start and kept in memory;
- VGG's weights are random unless `--vgg` names a file (.npz, torchvision's .pth; .h5
  where there is h5py): nothing is fetched.

    python -m raindrop.pretrained.train_full --workdir=runs/full \
        --export=full.safetensors

writes the moving average as the float16 file that `--weights` takes; for that it wants
safetensors too.
"""

import argparse
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import full
from raindrop import compilation_cache
from raindrop.data import augmentation, pipeline, sources
from raindrop.errors import UserError
from raindrop.media.folder_lock import FolderLock
from raindrop.training.divergence import Watch
from raindrop.training.setup import make_networks, make_state, make_step, replicate
from raindrop.weights import checkpoints


def crops(config: Any, first_step: int) -> Iterator[dict[str, np.ndarray]]:
    """As `pipeline.crops`, of photographs alone; those of a step depend on it alone.

    Raises:
      UserError: no photograph that can be used, or a damaged one.
    """
    source = sources.training(config, "rendered", cache_bytes=0)
    # Before anything is compiled, and so that no step waits for a file.
    photographs = [source(i) for i in range(len(source))]
    size = config.training.batch_size

    def batch(step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([config.training.seed, step])
        draws = rng.random((size, augmentation.NUM_DRAWS))
        chosen = rng.integers(len(photographs), size=size)
        images = [
            augmentation.augment(photographs[which], u, config.data, scene=True)
            for which, u in zip(chosen, draws, strict=True)
        ]
        return {
            "images": np.stack(images),
            "rendered": np.ones(size, bool),
            "index": step * size + np.arange(size),
        }

    return map(batch, itertools.count(first_step))


def train(
    config: ConfigDict,
    workdir: Path,
    ends: Callable[[int], bool],
    log_every: int = 100,
) -> None:
    """One piece of a run.

    Args:
      config: as `configs/full.py` gives it, with `data.photos`.
      workdir: where the run is, or is to be.
      ends: asked before every step, with the number of steps done.
      log_every: steps between two lines.

    Raises:
      UserError: see `crops`, `pipeline.batches`, `make_networks`, `FolderLock`,
        `checkpoints.read_newest` and `Watch`; or a run of another config.
    """
    compilation_cache.enable()  # for the next piece
    with FolderLock(workdir):
        saved = checkpoints.read_newest(workdir)
        first = done = saved.step if saved else 0
        num_steps, batch_size = config.training.num_steps, config.training.batch_size
        if saved:
            _check_config(saved, config)
            print(f"going on from step {done}", flush=True)
        if done >= num_steps:
            print(f"{workdir}: all {num_steps} steps are done", flush=True)
            return
        batches = pipeline.batches(config, done, crops(config, done))
        networks, vgg_params, vgg_source = make_networks(config)
        state, schedules = make_state(config, networks)
        state = saved.into(state) if saved else state
        state, vgg_params = replicate((state, vgg_params))
        step = make_step(config, networks, schedules)
        watch = Watch(workdir, batch_size)
        while done < num_steps and not ends(done):
            batch = next(batches)
            state, metrics = step(state, vgg_params, batch)
            done += 1
            watch.step(done, metrics, batch)
            if done == first + 1 or done % log_every == 0:
                values = {k: float(f"{v:.4g}") for k, v in metrics.items()}
                rate = ""
                if done == first + 1:
                    start = time.monotonic()  # what was before was compilation
                else:
                    seconds = time.monotonic() - start
                    images = (done - first - 1) * batch_size
                    rate = f" {images / seconds:.1f} images/s"
                print(f"step {done}/{num_steps}{rate} {values}", flush=True)
        if done == first:
            print(f"{workdir}: there was no time for a step", flush=True)
            return
        watch.settle()
        checkpoints.set_damaged_aside(workdir, first)
        with checkpoints.Checkpoints(workdir) as kept:
            try:
                kept.save(state, config, None, {"vgg": vgg_source})
            except FloatingPointError as error:
                raise watch.report(str(error)) from None
        print(f"{workdir}: step {done} saved", flush=True)


def _check_config(saved: checkpoints.Saved, config: ConfigDict) -> None:
    """Sees that a run goes on as it began: schedule, crops and drops follow from it."""
    now = json.loads(config.to_json_best_effort())
    found = checkpoints.differences(saved.meta["config"], now)
    found.pop("data.photos", None)  # the folder may lie elsewhere on another machine
    if found:
        lines = "; ".join(f"{name}={values}" for name, values in found.items())
        raise UserError(
            f"{saved.where} is of another run ({lines}); give the flags that it began "
            "with, or another --workdir"
        )


def export(workdir: Path, output: str) -> None:
    """The moving average of the newest step as one float16 file.

    Raises:
      UserError: there is none, or a place that cannot be written.
    """
    from raindrop.weights import safetensors_file

    loaded = checkpoints.load_generator(workdir)
    safetensors_file.write(loaded, output, "float16")


def main() -> None:
    """Reads the flags."""
    begin = time.monotonic()
    config = full.get_config()
    training, data = config.training, config.data
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", help="folder of photographs; train on them")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--export", help="write this .safetensors, at the end")
    parser.add_argument(
        "--minutes", type=float, default=9, help="after these no step begins"
    )
    parser.add_argument(
        "--steps", type=int, default=training.num_steps, help="of the whole run"
    )
    parser.add_argument("--batch", type=int, default=training.batch_size)
    parser.add_argument("--crop_size", type=int, default=data.crop_size)
    parser.add_argument("--vgg", default="random", help="see config.vgg.weights")
    parser.add_argument("--log_every", type=int, default=100)
    options = parser.parse_args()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax, on files of its own
    if not options.photos and not options.export:
        parser.error("give --photos to train, or --export")
    if options.crop_size < 4 or options.crop_size % 4:
        parser.error("--crop_size must be a multiple of four")
    if min(options.steps, options.batch, options.log_every) < 1:
        parser.error("--steps, --batch and --log_every must be at least 1")
    training.num_steps, training.batch_size = options.steps, options.batch
    data.crop_size, config.vgg.weights = options.crop_size, options.vgg

    def ends(_: int) -> bool:
        return time.monotonic() > begin + 60 * options.minutes

    try:
        if options.photos:
            data.photos = options.photos
            train(config, options.workdir, ends, options.log_every)
        if options.export:
            export(options.workdir, options.export)
    except UserError as error:
        print(f"train_full: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
