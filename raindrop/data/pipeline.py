"""From a config and a step to device batches {'rainy', 'clean', 'mask'}.

Example `i` of a run (step `i // batch_size`) is the same whatever was run before it,
how many threads read, how many devices train and how many processes share the work:
its source, the picture, the crop, the flip and the drops all follow from (seed, i).

A source (see `sources`) gives decoded pictures by position; `augmentation` cuts them,
and `make_finisher` puts drops on photographs and masks on real pairs, on the device.
"""

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raindrop.data import augmentation, masks, photographs, sources
from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.rendering import render
from raindrop.rendering.settings import Settings


def _import_tensorflow() -> Any:
    import tensorflow as tf

    # TensorFlow with CUDA would otherwise take the memory that JAX is to have.
    tf.config.set_visible_devices([], "GPU")
    return tf


def crops(
    config: Any, first_step: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Random crops of the sources' pictures, for ever, from `first_step` on.

    Every source has epochs of its own length in `i`, in each of which no picture of it
    comes twice. In a mixture, `i` draws its source too, and an epoch so shows the share
    of the source's pictures that its weight gives it.

    Args:
      config: the whole config.
      first_step: of the run, not of this process: a run that goes on says where.
      process_index: this process gets the examples of its part of each batch.
      process_count: the parts, put one after the other, are the global batch.

    Yields:
      'images': uint8 [b, crop, crop, C], three channels where all is to be rendered,
      else six, rainy before clean (of a photograph to be rendered on: twice the same);
      'rendered': bool [b], and 'index': int64 [b], of the examples.

    Raises:
      UserError: data that is not there, not usable, or smaller than the crop.
    """
    data, seed = config.data, config.training.seed
    shares = sources.weights(data)
    cache_bytes = int(data.cache_gib * 2**30 / len(shares))
    drawn = [sources.training(config, name, cache_bytes) for name in shares]
    channels = 3 if all(source.rendered for source in drawn) else 6
    size, batch_size = data.crop_size, config.training.batch_size
    local = batch_size // process_count
    failures: list[UserError] = []
    tf = _import_tensorflow()
    bounds = tf.constant(np.cumsum(list(shares.values()))[:-1], tf.float64)
    counts = tf.constant([len(source) for source in drawn], tf.int64)
    rendered = tf.constant([source.rendered for source in drawn])

    def read(which: int, position: int, u: np.ndarray) -> np.ndarray:
        try:
            images = drawn[which](int(position))
            crop = augmentation.augment(images, u, data, drawn[which].rendered)
        except UserError as error:
            failures.append(error)
            raise
        except ValueError as error:
            name = drawn[which].names[int(position)]
            failures.append(UserError(f"{name} cannot be cropped: {error}"))
            raise
        return crop if crop.shape[-1] == channels else np.tile(crop, 2)

    def example(i: Any) -> dict[str, Any]:
        key = tf.random.experimental.stateless_fold_in(
            tf.constant([seed, 0], tf.int64), i
        )
        u = tf.random.stateless_uniform(
            (1 + augmentation.NUM_DRAWS,), key, dtype=tf.float64
        )
        which = tf.searchsorted(bounds, u[:1], side="right")[0]
        count = tf.gather(counts, which)
        position = tf.random.experimental.index_shuffle(
            i % count, tf.stack([tf.cast(seed, tf.int64), i // count]), count - 1
        )
        images = tf.numpy_function(
            read, [which, position, u[1:]], tf.uint8, stateful=False
        )
        images.set_shape((size, size, channels))
        return {"images": images, "rendered": tf.gather(rendered, which), "index": i}

    def global_index(j: Any) -> Any:
        return j // local * batch_size + process_index * local + j % local

    dataset = (
        tf.data.Dataset.range(first_step * local, tf.int64.max)
        .map(global_index)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(local, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    running = [dataset.as_numpy_iterator()]
    tensorflow_error = tf.errors.OpError

    def told() -> Iterator[dict[str, np.ndarray]]:
        try:
            while running:
                yield next(running[0])
        except tensorflow_error:
            # TensorFlow makes a page of the error of a picture; its line is wanted.
            if failures:
                raise failures[0] from None
            raise

    batches = told()
    # Its threads run Python: they must have ended before the interpreter does, or it
    # waits for them for ever.
    weakref.finalize(batches, running.clear)
    return batches


def shard(batch: Any) -> Any:
    """[b, ...] to [local devices, b / devices, ...], as pmap takes it."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


def make_finisher(config: Any) -> Callable[..., dict[str, jax.Array]]:
    """The pmapped function (index, images, rendered) of `crops` -> device batch.

    In a mixture drops are rendered on every example and dropped again where it is a
    real pair: shapes stay static.
    """
    settings = Settings(**config.data.rendering)
    seed = config.training.seed
    names = sources.weights(config.data)

    def finish_one(
        index: jax.Array, images: jax.Array, rendered: jax.Array
    ) -> dict[str, jax.Array]:
        images = images.astype(jnp.float32) / 255
        clean = images[..., -3:]
        if names.keys() != {"rendered"}:
            rainy = images[..., :3]
            mask = masks.mask(rainy, clean, **config.data.mask)
        if "rendered" in names:
            key = jax.random.fold_in(jax.random.key(seed), index)
            with_drops = render.render(key, clean, settings)
            if len(names) == 1:
                rainy, mask = with_drops
            else:
                rainy = jnp.where(rendered, with_drops[0], rainy)
                mask = jnp.where(rendered, with_drops[1], mask)
        return {"rainy": rainy, "clean": clean, "mask": mask}

    return jax.pmap(jax.vmap(finish_one))


def batches(
    config: Any,
    first_step: int,
    source: Iterator[dict[str, np.ndarray]] | None = None,
) -> Iterator[dict[str, jax.Array]]:
    """Device batches for ever, from `first_step` on, of this process's share.

    Args:
      config: the whole config.
      first_step: of the run.
      source: of the crops from that step on; `crops`, by default.

    Yields:
      'rainy' and 'clean' [devices, b, H, W, 3], RGB in [0, 1], 'mask' [..., 1].

    Raises:
      UserError: data that is not there, or a batch that cannot be shared out.
    """
    num_devices = jax.device_count()
    if config.training.batch_size % num_devices:
        raise UserError(
            f"training.batch_size {config.training.batch_size} cannot be shared out to "
            f"{num_devices} devices; take a multiple of {num_devices}"
        )
    if config.data.mask.rule not in masks.RULES:
        raise UserError(
            f"data.mask.rule must be one of {', '.join(masks.RULES)}, "
            f"not {config.data.mask.rule!r}"
        )
    finish = make_finisher(config)
    if source is None:
        source = crops(config, first_step, jax.process_index(), jax.process_count())
    # Outside a generator, so that bad data is told at the call, not at the first batch.
    return (
        finish(batch["index"].astype(np.uint32), batch["images"], batch["rendered"])
        for batch in map(shard, source)
    )


def validation_pairs(config: Any) -> Iterator[Pair]:
    """The pairs that a training run is evaluated on, whole and never resized.

    Where `eval.name` names others than those trained on, those of `evaluation_pairs`.
    Else pictures held out of the source it names, or of the (first) source, so that no
    checkpoint is chosen on a test set.
    """
    name = config.eval.name
    if name and not _is_trained_on(name, config):
        return evaluation_pairs(config)
    shares = sources.weights(config.data)
    name = name or max(shares, key=shares.get)
    if name == "rendered":
        return _rendered_pairs(config)
    return iter(sources.held_out(config, name))


def _is_trained_on(name: str, config: Any) -> bool:
    """Whether what `evaluation_pairs` finds by `name` are the pairs of the training."""
    elsewhere = config.eval.dir or config.eval.rainy
    other_split = name == "raindrop" and config.eval.split != "train"
    return name in sources.weights(config.data) and not elsewhere and not other_split


def evaluation_pairs(config: Any) -> Iterator[Pair]:
    """The pairs to evaluate on, whole and never resized.

    Of `eval.name`, or of `data.name` where that is empty: all pairs of the folder
    ('pairs'), those of `eval.split` ('raindrop'), or the held-out photographs under
    drops that `eval.seed` decides ('rendered').

    Raises:
      UserError: pairs that are not there or not usable.
    """
    name = config.eval.name or config.data.name
    if name not in sources.NAMES:
        raise UserError(
            f"eval.name must be one of {', '.join(sources.NAMES)}, not {name!r}"
        )
    if name == "rendered":
        return _rendered_pairs(config)
    where = config.eval if config.eval.dir or config.eval.rainy else config.data
    return iter(sources.open_pairs(name, where, config.eval.split))


def _rendered_pairs(config: Any) -> Iterator[Pair]:
    settings = Settings(**config.data.rendering)
    draw = jax.jit(partial(render.render, settings=settings))
    _, paths = photographs.split(config.data.photos, config.eval.num_images)
    for i, path in enumerate(paths):
        clean = pictures.read_image(path)
        key = jax.random.fold_in(jax.random.key(config.eval.seed), i)
        rainy, _ = draw(key, clean.astype(np.float32) / 255)
        yield Pair(path.stem, pictures.to_uint8(np.asarray(rainy)), clean)
