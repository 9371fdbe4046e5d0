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

from raindrop.data import augmentation, masks, numpy_crops, sources
from raindrop.data.mixture import Mixture
from raindrop.data.pairs import Readable
from raindrop.errors import UserError
from raindrop.rendering import render
from raindrop.rendering.settings import Settings

READERS = ("tensorflow", "numpy")


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
      first_step: of the run, not of this process: a resumed run says where.
      process_index: this process gets the examples of its part of each batch.
      process_count: the parts, put one after the other, are the global batch.

    Yields:
      'images': uint8 [b, crop, crop, C], three channels where all is to be rendered,
      else six, rainy before clean (of a photograph to be rendered on: twice the same);
      'rendered': bool [b], and 'index': int64 [b], of the examples.

    Raises:
      UserError: data that is not there, not usable, or smaller than the crop.
    """
    batch_size = config.training.batch_size
    local = batch_size // process_count
    read = _Reader(Mixture(config))
    tf = _import_tensorflow()

    def global_index(j: Any) -> Any:
        return j // local * batch_size + process_index * local + j % local

    dataset = (
        tf.data.Dataset.range(first_step * local, tf.int64.max)
        .map(global_index)
        .map(partial(_example, tf, config, read), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(local, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    running = [dataset.as_numpy_iterator()]
    batches = _batches(running, read, tf.errors.OpError)
    # Its threads run Python: they must have ended before the interpreter does, or it
    # waits for them for ever.
    weakref.finalize(batches, running.clear)
    return batches


class _Reader:
    """`Mixture.crop` for TensorFlow's threads.

    Attributes:
      mixture: what to read.
      failures: what was wrong with pictures; TensorFlow makes a page of it.
    """

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self.failures: list[UserError] = []

    def __call__(self, which: int, position: int, draws: np.ndarray) -> np.ndarray:
        try:
            return self.mixture.crop(int(which), int(position), draws)
        except UserError as error:
            self.failures.append(error)
            raise


def _example(tf: Any, config: Any, read: _Reader, i: Any) -> dict[str, Any]:
    """The graph of example `i`: draws its source, the picture and the crop."""
    mixture = read.mixture
    seed, size = config.training.seed, config.data.crop_size
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int64), i)
    # The first draw decides the source, the others are `augmentation.Draws`.
    draws = tf.random.stateless_uniform(
        (1 + augmentation.NUM_DRAWS,), key, dtype=tf.float64
    )
    bounds = tf.constant(mixture.bounds, tf.float64)
    which = tf.searchsorted(bounds, draws[:1], side="right")[0]
    counts = tf.constant([len(cache) for cache in mixture.caches], tf.int64)
    count = tf.gather(counts, which)
    position = tf.random.experimental.index_shuffle(
        i % count, tf.stack([tf.cast(seed, tf.int64), i // count]), count - 1
    )
    images = tf.numpy_function(
        read, [which, position, draws[1:]], tf.uint8, stateful=False
    )
    images.set_shape((size, size, mixture.channels))
    rendered = tf.constant([cache.rendered for cache in mixture.caches])
    return {"images": images, "rendered": tf.gather(rendered, which), "index": i}


def _batches(
    running: list[Iterator[dict[str, np.ndarray]]],
    read: _Reader,
    tensorflow_error: type[Exception],
) -> Iterator[dict[str, np.ndarray]]:
    """What the iterator in `running` gives, until it is taken out there.

    Raises:
      UserError: a picture that cannot be used, in the place of TensorFlow's error.
    """
    try:
        while running:
            yield next(running[0])
    except tensorflow_error:
        if read.failures:
            raise read.failures[0] from None
        raise


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
            with_drops = render.example(key, clean, settings)
            if len(names) == 1:
                rainy, clean, mask = with_drops
            else:
                real = render.Example(rainy, clean, mask)
                rainy, clean, mask = jax.tree.map(
                    partial(jnp.where, rendered), with_drops, real
                )
        return {"rainy": rainy, "clean": clean, "mask": mask}

    def finish(*batch: jax.Array) -> dict[str, jax.Array]:
        if jax.default_backend() == "cpu":
            # One after the other they stay in the cache, and skip what they need not.
            return jax.lax.map(lambda one: finish_one(*one), batch)
        return jax.vmap(finish_one)(*batch)

    return jax.pmap(finish)


def batches(
    config: Any,
    first_step: int,
    source: Iterator[dict[str, np.ndarray]] | None = None,
) -> Iterator[dict[str, jax.Array]]:
    """Device batches for ever, from `first_step` on, of this process's share.

    Args:
      config: the whole config.
      first_step: of the run.
      source: of the crops from that step on; that of `data.reader` by default.

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
        make = numpy_crops.crops if config.data.reader == "numpy" else crops
        source = make(config, first_step, jax.process_index(), jax.process_count())
    # Outside a generator, so that bad data is told at the call, not at the first batch.
    return (
        finish(batch["index"].astype(np.uint32), batch["images"], batch["rendered"])
        for batch in map(shard, source)
    )


def evaluated_sources(config: Any) -> list[str]:
    """The names of what a config evaluates on.

    That of `eval.name`, or those of all that is trained on, the largest share first.
    """
    shares = sources.weights(config.data)
    if config.eval.name:
        return [config.eval.name]
    return sorted(shares, key=shares.__getitem__, reverse=True)


def validation_pairs(config: Any, name: str | None = None) -> Readable:
    """The pairs that a training run is evaluated on, whole and never resized.

    Where `eval.name` names others than those trained on, those of `evaluation_pairs`.
    Else pictures held out of the source, so that no checkpoint is chosen on a test set.

    Args:
      config: the whole config.
      name: one of `evaluated_sources`; the first by default.

    Raises:
      UserError: pairs that are not there or not usable.
    """
    name = name or evaluated_sources(config)[0]
    source = sources.of(config, name, "eval.name")
    chosen = not _holds_out(config, source)
    return source.readable(source.evaluation() if chosen else source.held_out())


def validation_record(config: Any, name: str) -> dict[str, Any]:
    """What `validation_pairs` gives, to be written beside its scores."""
    source = sources.of(config, name, "eval.name")
    held_out = _holds_out(config, source)
    return source.record(evaluating=not held_out) | {"held_out": held_out}


def _holds_out(config: Any, source: sources.Source) -> bool:
    """Whether validation is on what is held out of this source."""
    trained_on = source.name in sources.weights(config.data) and source.is_trained_on()
    return trained_on or not config.eval.name


def evaluation_pairs(config: Any, name: str | None = None) -> Readable:
    """The pairs to evaluate on, whole and never resized.

    Of `eval.name`, or of `data.name` where that is empty: all pairs of the folder
    ('pairs'), those of `eval.split` (of a set with splits), or the held-out photographs
    under drops that `eval.seed` decides ('rendered'). With `data.on_error=skip` those
    that cannot be read are left out.

    Args:
      config: the whole config.
      name: of the source, in place of those fields.

    Raises:
      UserError: pairs that are not there or not usable.
    """
    name = name or config.eval.name or config.data.name
    source = sources.of(config, name, "eval.name")
    return source.readable(source.evaluation())
