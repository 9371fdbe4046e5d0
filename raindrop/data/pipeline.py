"""From a config and a step to device batches {'rainy', 'clean', 'mask'}.

Example `i` of a run (step `i // batch_size`) is the same whatever was run before it,
how many threads read, how many devices train and how many processes share the work:
the photograph, the crop, the flip and the drops all follow from (seed, i).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raindrop import image_io
from raindrop.data import photographs, rendering
from raindrop.data.pairs import Pair
from raindrop.errors import UserError


def _import_tensorflow() -> Any:
    import tensorflow as tf

    # TensorFlow with CUDA would otherwise take the memory that JAX is to have.
    tf.config.set_visible_devices([], "GPU")
    return tf


def crops(
    config: Any, first_step: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Random crops of photographs, for ever, from `first_step` on.

    Args:
      config: the whole config.
      first_step: of the run, not of this process: a run that goes on says where.
      process_index: this process gets the examples of its part of each batch.
      process_count: the parts, put one after the other, are the global batch.

    Yields:
      'clean': uint8 RGB [b, crop, crop, 3], and 'index': int64 [b], of the examples.

    Raises:
      UserError: no photographs, or none as large as the crop.
    """
    data, seed = config.data, config.training.seed
    paths, _ = photographs.split(data.photos, config.eval.num_images)
    paths = photographs.at_least(paths, data.crop_size)
    decode = photographs.Decoder(paths, int(data.cache_gib * 2**30))
    size, num_photos = data.crop_size, len(paths)
    batch_size = config.training.batch_size
    local = batch_size // process_count
    tf = _import_tensorflow()

    def example(i: Any) -> dict[str, Any]:
        epoch, position = i // num_photos, i % num_photos
        shuffled = tf.random.experimental.index_shuffle(
            position, tf.stack([tf.cast(seed, tf.int64), epoch]), num_photos - 1
        )
        photo = tf.numpy_function(decode, [shuffled], tf.uint8, stateful=False)
        photo.set_shape((None, None, 3))
        key = tf.random.experimental.stateless_fold_in(
            tf.constant([seed, 0], tf.int64), i
        )
        crop = tf.image.stateless_random_crop(photo, (size, size, 3), key)
        if data.flip:
            crop = tf.image.stateless_random_flip_left_right(crop, key)
        return {"clean": crop, "index": i}

    def global_index(j: Any) -> Any:
        return j // local * batch_size + process_index * local + j % local

    return (
        tf.data.Dataset.range(first_step * local, tf.int64.max)
        .map(global_index)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(local, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )


def shard(batch: Any) -> Any:
    """[b, ...] to [local devices, b / devices, ...], as pmap takes it."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


def make_renderer(config: Any) -> Any:
    """The pmapped function (crops uint8, example indices) -> device batch."""
    settings = rendering.Settings(**config.data.rendering)
    seed = config.training.seed

    def render_one(index: jax.Array, clean: jax.Array) -> dict[str, jax.Array]:
        clean = clean.astype(jnp.float32) / 255
        key = jax.random.fold_in(jax.random.key(seed), index)
        rainy, mask = rendering.render(key, clean, settings)
        return {"rainy": rainy, "clean": clean, "mask": mask}

    return jax.pmap(jax.vmap(render_one))


def batches(config: Any, first_step: int) -> Iterator[dict[str, jax.Array]]:
    """Device batches for ever, from `first_step` on, of this process's share.

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
    if config.data.name != "rendered":
        raise UserError(f"data.name {config.data.name!r} is not known; take 'rendered'")
    render = make_renderer(config)
    source = crops(config, first_step, jax.process_index(), jax.process_count())
    # Outside a generator, so that bad data is told at the call, not at the first batch.
    return (
        render(batch["index"].astype(np.uint32), batch["clean"])
        for batch in map(shard, source)
    )


def evaluation_pairs(config: Any) -> Iterator[Pair]:
    """The pairs to evaluate on, whole and never resized.

    For 'rendered': the held-out photographs under drops that `eval.seed` decides.
    """
    settings = rendering.Settings(**config.data.rendering)
    render = jax.jit(partial(rendering.render, settings=settings))
    _, paths = photographs.split(config.data.photos, config.eval.num_images)
    for i, path in enumerate(paths):
        clean = image_io.read_image(path)
        key = jax.random.fold_in(jax.random.key(config.eval.seed), i)
        rainy, _ = render(key, clean.astype(np.float32) / 255)
        yield Pair(path.stem, image_io.to_uint8(np.asarray(rainy)), clean)
