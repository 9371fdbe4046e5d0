r"""Trains the full generator on a machine that has JAX and no TensorFlow.

One command, for a GPU that is lent by the minute; the same command goes on from where
the last one ended:

    python -m raindrop.pretrained.train_full --photos=PHOTOS --workdir=runs/full \
        --minutes=9

It wants jax, flax, optax, orbax-checkpoint, ml-collections and Pillow, no more. The
recipe is `configs/full.py`; networks, losses, step, crops and renderer are those of
`main.py`. What differs is that no tf.data feeds it, and that a piece ends by the clock.
Ends by writing `generator.npz`, the moving average, into the work directory;

    python -m raindrop.pretrained.train_full --workdir=runs/full \
        --export=full.safetensors

makes the float16 file of it that `--weights` takes (on a machine with raindrop's other
dependencies).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from PIL import Image

from configs import full
from raindrop import compilation_cache, train_state
from raindrop.data import augmentation, rendering
from raindrop.losses import Objective
from raindrop.models import generator
from raindrop.models.discriminator import Discriminator
from raindrop.models.vgg import VGG16
from raindrop.train_step import Networks, train_step


def make_networks(config: Any) -> Networks:
    """Generator, discriminator and VGG of a config."""
    dtype = jnp.dtype(config.training.precision)
    return Networks(
        generator.from_fields(config.model.generator.to_dict(), dtype),
        Discriminator(**config.model.discriminator, dtype=dtype),
        VGG16(layers=tuple(config.vgg.layers), dtype=dtype),
    )


def read_photographs(folder: Path, size: int) -> list[np.ndarray]:
    """All photographs that hold a crop of `size`, uint8 RGB."""
    photographs = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            picture = np.asarray(Image.open(path).convert("RGB"))
            if min(picture.shape[:2]) >= size:
                photographs.append(picture)
    if not photographs:
        raise SystemExit(f"{folder} holds no photograph of {size} x {size} or more")
    return photographs


def crops_of(photographs: list[np.ndarray], step: int, config: Any) -> np.ndarray:
    """The crops of a step, uint8 [B, size, size, 3]; they depend on the step alone."""
    rng = np.random.default_rng([config.training.seed, step])
    batch_size = config.training.batch_size
    draws = rng.random((batch_size, augmentation.NUM_DRAWS))
    chosen = rng.integers(len(photographs), size=batch_size)
    return np.stack(
        [
            augmentation.augment(photographs[which], u, config.data, scene=True)
            for which, u in zip(chosen, draws, strict=True)
        ]
    )


def export(workdir: Path, output: str) -> None:
    """`generator.npz` as one float16 file."""
    from raindrop.weights import LoadedGenerator, safetensors_file

    with np.load(workdir / "generator.npz") as file:
        params = traverse_util.unflatten_dict(dict(file), sep="/")
    fields = json.loads((workdir / "generator.json").read_text())
    loaded = LoadedGenerator(fields, params, "raindrop.pretrained.train_full")
    safetensors_file.write(loaded, output, "float16")


def train(
    config: Any, photos: Path, workdir: Path, minutes: float, log_every: int = 100
) -> None:
    """One piece of a run.

    Args:
      config: as `configs/full.py` gives it.
      photos: the folder of photographs.
      workdir: where the run is, or is to be.
      minutes: after these no step begins.
      log_every: steps between two lines.

    Raises:
      SystemExit: no photograph that can be used, or losses that are not finite.
    """
    deadline = time.monotonic() + 60 * minutes
    compilation_cache.enable()  # for the next piece
    size, num_steps = config.data.crop_size, config.training.num_steps
    batch_size = config.training.batch_size
    photographs = read_photographs(photos, size)
    networks = make_networks(config)
    optimizers, schedules = train_state.make_optimizers(config.optimizer, num_steps)
    state = train_state.create(
        jax.random.key(config.training.seed, impl="rbg"),
        networks.generator,
        networks.discriminator,
        optimizers,
        size,
        None,
    )
    vgg = jax.jit(networks.vgg.lazy_init)(
        jax.random.key(1), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    )["params"]
    settings = rendering.Settings(**config.data.rendering)
    objective = Objective(**config.loss)

    def one(state: Any, crops: jax.Array, step: jax.Array) -> Any:
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(
            step * batch_size + jnp.arange(batch_size)
        )
        clean = crops.astype(jnp.float32) / 255
        rainy, mask = jax.vmap(lambda k, x: rendering.render(k, x, settings))(
            keys, clean
        )
        return train_step(
            state,
            vgg,
            {"rainy": rainy, "clean": clean, "mask": mask},
            networks=networks,
            objective=objective,
            schedules=schedules,
            ema_decay=config.training.ema_decay,
        )

    one = jax.jit(one, donate_argnums=0)
    folder = (workdir / "state").absolute()
    manager = ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(2))
    done = manager.latest_step() or 0
    if done:
        args = ocp.args.StandardRestore(_arrays(state))
        state = _merged(state, manager.restore(done, args=args))
        print(f"going on from step {done}", flush=True)
    if done >= num_steps:
        print(f"{workdir}: all {num_steps} steps are done", flush=True)
        return
    start, first = time.monotonic(), done
    while done < num_steps and time.monotonic() < deadline:
        crops = crops_of(photographs, done, config)
        state, metrics = one(state, crops, np.uint32(done))
        done += 1
        if done == first + 1 or done % log_every == 0:
            values = {k: round(float(v), 5) for k, v in metrics.items()}
            if not all(np.isfinite(list(values.values()))):
                raise SystemExit(f"step {done} is not finite: {values}; nothing saved")
            rate = (done - first) * batch_size / (time.monotonic() - start)
            print(f"step {done}/{num_steps} {rate:.1f} images/s {values}", flush=True)
    manager.save(done, args=ocp.args.StandardSave(_arrays(state)))
    manager.wait_until_finished()
    flat = traverse_util.flatten_dict(jax.device_get(state.ema), sep="/")
    aside = workdir / "generator.part.npz"
    np.savez(aside, **flat)
    aside.replace(workdir / "generator.npz")
    fields = json.dumps(config.model.generator.to_dict())
    (workdir / "generator.json").write_text(fields)
    print(f"{workdir}: step {done} saved", flush=True)


def _arrays(state: Any) -> list[Any]:
    return jax.tree.leaves(state)


def _merged(state: Any, leaves: list[Any]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(state), leaves)


def main() -> None:
    """Reads the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--export", help="write this .safetensors and train nothing")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--steps", type=int, help="of the whole run")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--crop_size", type=int)
    parser.add_argument("--log_every", type=int, default=100)
    options = parser.parse_args()
    if options.export:
        export(options.workdir, options.export)
    elif options.photos is None:
        parser.error("--photos is needed to train")
    else:
        config = full.get_config()
        if options.steps:
            config.training.num_steps = options.steps
        if options.batch:
            config.training.batch_size = options.batch
        if options.crop_size:
            config.data.crop_size = options.crop_size
        options.workdir.mkdir(parents=True, exist_ok=True)
        photos, workdir = options.photos, options.workdir
        train(config, photos, workdir, options.minutes, options.log_every)


if __name__ == "__main__":
    main()
