"""Pictures of every shape, mode and type, and files damaged in every way."""

import io
from functools import cache

import numpy as np
import pytest
import tiny_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raindrop.errors import UserError
from raindrop.evaluation import metrics
from raindrop.media import pictures
from raindrop.restoration.derainer import Derainer

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
KINDS = ("png", "jpg", "webp", "bmp", "tif")
few = settings(max_examples=60, deadline=None)


@cache
def derainer():
    return Derainer(tiny_generator.loaded())


def encoded(mode, kind, height, width, seed):
    """A picture file's bytes, or None where the format has no such mode."""
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        pixels = rng.integers(0, 65536, (height, width)).astype(np.uint16)
        image = Image.fromarray(pixels)
    else:
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    try:
        image.save(file, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    except (OSError, ValueError):
        return None
    return file.getvalue()


@few
@given(
    mode=st.sampled_from(MODES),
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_decode(tmp_path_factory, mode, kind, height, width, seed):
    content = encoded(mode, kind, height, width, seed)
    if content is None:
        return
    path = tmp_path_factory.getbasetemp() / f"decode.{kind}"
    path.write_bytes(content)
    image = pictures.read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (height, width, 3)
    assert pictures.image_size(path) == (height, width)
    if mode == "RGB" and kind in ("png", "bmp", "tif"):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        np.testing.assert_array_equal(image, pixels)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    mode=st.sampled_from(("L", "RGB", "RGBA", "P")),
    damage=st.sampled_from(("cut", "flip", "fill", "grow")),
    where=st.floats(0, 1, exclude_max=True),
    value=st.integers(1, 255),
)
def test_damaged_files(tmp_path_factory, kind, mode, damage, where, value):
    """A picture or a `UserError` of one line that names the file; nothing else."""
    content = encoded(mode, kind, 13, 17, 0)
    if content is None:
        return
    content = bytearray(content)
    place = int(where * len(content))
    if damage == "cut":
        del content[place:]
    elif damage == "flip":
        content[place] ^= value
    elif damage == "fill":
        content[place : place + 16] = bytes([value]) * 16
    else:
        content[place:place] = bytes([value]) * 16
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(content)
    for read in (pictures.read_image, pictures.image_size):
        try:
            result = read(path)
        except UserError as error:
            assert path.name in str(error)
            assert "\n" not in str(error)
        else:
            assert len(result) >= 1


@few
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)),
    channels=st.sampled_from((1, 3)),
    multiple=st.sampled_from((1, 2, 4, 16, 64)),
    dtype=st.sampled_from((np.uint8, np.uint16, np.float32)),
)
def test_pad_and_crop(shape, channels, multiple, dtype):
    image = np.arange(np.prod(shape) * channels).reshape(*shape, channels)
    image = image.astype(dtype)
    padded = pictures.pad_to_multiple(image, multiple)
    height, width = shape[1:]
    assert padded.dtype == dtype
    for side, before in zip(padded.shape[1:3], (height, width), strict=True):
        assert side % multiple == 0
        assert 0 <= side - before < multiple
    np.testing.assert_array_equal(padded[:, :height, :width], image)


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    dtype=st.sampled_from((np.uint8, np.uint16, np.float32)),
    seed=st.integers(0, 9),
)
def test_derain(height, width, dtype, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(height, width, 3)).astype(np.float32)
    if dtype != np.float32:
        image = (image * np.iinfo(dtype).max).astype(dtype)
    output, attention = derainer().run(image)
    assert output.shape == (height, width, 3)
    assert attention.shape[1:] == (height, width, 1)
    assert np.all(np.isfinite(output))
    assert np.all(np.isfinite(attention))


@few
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    dtype=st.sampled_from((np.uint8, np.float32, np.float64)),
    protocol=st.sampled_from(("release", "bt601", "rgb")),
    seed=st.integers(0, 99),
)
def test_metrics(height, width, dtype, protocol, seed):
    """Equal pictures are best; any other is worse; what has no score says so."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image = clean ^ 255
    if dtype != np.uint8:
        image = (rng.normal(0.5, 1, clean.shape)).astype(dtype)
    if min(height, width) <= metrics.SMALLEST_SIDE:
        with pytest.raises(ValueError, match="at least"):
            metrics.score(image, clean, protocol)
        return
    same = metrics.score(clean, clean, protocol)
    other = metrics.score(image, clean, protocol)
    assert same == {"psnr": float("inf"), "ssim": pytest.approx(1)}
    assert 0 <= other["psnr"] < 40
    assert -1 <= other["ssim"] < 1
    with pytest.raises(ValueError, match="sizes differ"):
        metrics.score(image[:-1], clean, protocol)
