"""What JPEG files keep, beside libjpeg; and that a dry pair stays one."""

import dataclasses
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from configs.rendering import get_config
from raindrop.rendering.compression import compress, jpeg
from raindrop.rendering.settings import Settings

ALWAYS = dataclasses.replace(Settings(**get_config()), compressed=1.0)

squeeze = jax.jit(jpeg)


@functools.cache
def picture() -> np.ndarray:
    """Blobs of colour with detail, uint8 [100, 132, 3]: not of whole blocks."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((100, 132, 3)), (6, 6, 0))
    detail = ndimage.gaussian_filter(rng.random((100, 132, 1)), (0.7, 0.7, 0))
    mixed = 0.5 + 8 * (smooth - 0.5) + (detail - 0.5)
    return np.uint8(255 * np.clip(mixed, 0, 1))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((np.float64(a) - b) ** 2)))


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_libjpeg_gives_nearly_the_same(quality: int, halved: bool) -> None:
    """Up to its rounding of colours, and its smoother enlarging of halved ones."""
    file = io.BytesIO()
    subsampling = 2 if halved else 0
    Image.fromarray(picture()).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    theirs = np.asarray(Image.open(file))
    scene = jnp.float32(picture()) / 255
    ours = 255 * squeeze(scene, quality, halved, jnp.zeros(2, jnp.int32))
    assert rms(ours, theirs) < 0.7 + 0.2 * rms(picture(), theirs)


def test_the_grid_begins_where_it_is_told() -> None:
    """A picture cut from a larger one has the blocks of the larger one."""
    scene = jnp.float32(picture()) / 255
    whole = squeeze(scene, 20, True, jnp.zeros(2, jnp.int32))
    cut = squeeze(scene[5:, 11:], 20, True, jnp.array([5, 11], jnp.int32))
    inside = np.s_[32:64, 32:96]  # far from the edges, which are repeated
    np.testing.assert_allclose(cut[inside], whole[5:, 11:][inside], atol=2e-5)


def test_a_dry_pair_stays_one() -> None:
    """Both pictures of a pair come out of files of one quality and one grid."""
    scene = jnp.float32(picture()) / 255
    once = jax.jit(compress, static_argnums=2)
    results = [once(jax.random.key(k), (scene, scene), ALWAYS) for k in range(3)]
    for rainy, clean in results:
        np.testing.assert_array_equal(rainy, clean)
        assert rms(rainy, scene) > 1 / 255
    assert rms(results[0][0], results[1][0]) > 0


def test_without_files_nothing_changes() -> None:
    """Probability 0: the very pictures."""
    never = dataclasses.replace(ALWAYS, compressed=0.0)
    scene = jnp.float32(picture()) / 255
    assert compress(jax.random.key(0), (scene,), never)[0] is scene
