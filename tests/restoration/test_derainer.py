import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_generator

import raindrop
from raindrop import cli
from raindrop.errors import UserError
from raindrop.media import pictures, pixel_values
from raindrop.models import generator
from raindrop.restoration import scales
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.engine import JaxEngine
from raindrop.restoration.smoothing import Smoothing
from raindrop.weights import safetensors_file

RNG = np.random.default_rng(0)
LOADED = tiny_generator.loaded()
GATED = tiny_generator.loaded(
    autoencoder=dict.fromkeys(("encoder_blocks", "decoder_blocks"), (1, 1))
    | {"kind": "residual", "widths": (4, 4, 4), "map_channels": 1, "overview": 4}
)


@pytest.fixture(scope="module")
def derainer():
    return Derainer(LOADED)


@pytest.fixture(scope="module")
def small_tiles():
    return Derainer(LOADED, tile=256)


def picture(*size, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)


def test_no_padding_where_none_is_needed(derainer):
    """Bit for bit what the network alone gives."""
    image = picture(12, 20)
    network = generator.from_fields(LOADED.fields)
    x = pixel_values.to_float(image)[None]
    alone = jax.jit(lambda x: network.apply({"params": LOADED.params}, x))(x)
    output, maps = derainer.run(image)
    np.testing.assert_array_equal(output, alone.image[0])
    np.testing.assert_array_equal(maps, alone.attention[:, 0])


def test_the_gate_is_the_last_map():
    image = picture(12, 20)
    x = pixel_values.to_float(image)[None]
    output = generator.from_fields(GATED.fields).apply({"params": GATED.params}, x)
    output = output.judged(x)
    maps = Derainer(GATED).derain(image, attention=True)[1]
    assert maps.shape == (3, 12, 20, 1)
    np.testing.assert_allclose(maps[:2], output.attention[:, 0], atol=1e-5)
    np.testing.assert_allclose(maps[2], output.gate[0], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 7), (37, 23)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_is_the_crop_of_its_reflection(derainer, size, dtype):
    image = picture(*size, dtype=dtype)
    output, maps = derainer.derain(image, attention=True)
    assert output.shape == image.shape
    assert output.dtype == dtype
    assert maps.shape == (2, *size, 1)
    whole = derainer.derain(pictures.pad_to_multiple(image))
    np.testing.assert_array_equal(output, whole[: size[0], : size[1]])


@pytest.mark.parametrize(
    "fields",
    [{"patch_size": p} for p in (1, 2, 4)] + [{"pyramid": 1}, GATED.fields],
)
def test_smaller_pictures_in_a_common_shape_come_out_as_alone(fields):
    derainer = Derainer(tiny_generator.loaded(**fields))
    images = [picture(*size) for size in [(12, 20), (16, 8), (9, 13), (20, 24)]]
    together = derainer.run_many(images, shape=(32, 32), attention=True, raw=True)
    for image, (output, maps) in zip(images, together, strict=True):
        alone, alone_maps = derainer.run(image)
        np.testing.assert_allclose(output, alone, atol=1e-5)
        np.testing.assert_allclose(maps, alone_maps, atol=1e-5)


@pytest.mark.parametrize("loaded", [LOADED, GATED])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_large_pictures_are_cleaned_at_half_their_size_too(dtype, loaded):
    derainer = Derainer(loaded)
    derainer.again = False
    image = picture(45, 83)
    image = pixel_values.from_float(pixel_values.to_float(image), dtype)
    expected, maps = derainer.derain(image, attention=True)
    before = scales.half(expected)
    # With a gate, of the picture as it came: large drops are still whole there.
    small = scales.half(image) if loaded is GATED else before
    clean, more = derainer.derain(small, attention=True)
    if loaded is GATED:
        clean = scales.blend(before, clean, more[-1])
    scales.bring_back(expected, before, clean)
    derainer.frame = 42  # 83 is less than twice that
    once, _ = derainer.derain(image, attention=True)
    derainer.frame = 41
    output, output_maps = derainer.derain(image, attention=True)
    assert (once != output).any()
    np.testing.assert_allclose(np.float64(output), expected, atol=1e-5)
    larger = np.maximum(maps, scales.twice(more, image.shape[:2]))
    np.testing.assert_allclose(output_maps, larger, atol=1e-5)
    assert derainer.run(image)[0].shape == image.shape


@pytest.mark.parametrize("loaded", [LOADED, GATED])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_large_drops_are_looked_for_again_at_a_quarter(dtype, loaded, monkeypatch):
    for name, value in {"_SIDE": 1, "_CHANGED": -1}.items():  # everywhere
        monkeypatch.setattr(scales, name, value)
    monkeypatch.setattr("raindrop.restoration.derainer._OPEN", -1)
    derainer = Derainer(loaded)
    derainer.again = True  # with LOADED as with a pyramid
    image = pixel_values.from_float(pixel_values.to_float(picture(45, 83)), dtype)
    derainer.frame = 83  # as in training
    expected, maps = derainer.derain(image, attention=True)
    once = expected.copy()
    half = scales.half(expected)
    quarter = scales.half(half)
    seen = scales.half(scales.half(image)) if loaded is GATED else quarter
    clean, more = derainer.derain(seen, attention=True)
    after = half.copy()
    scales.bring_back(after, quarter, clean)
    scales.bring_back(expected, half, after)
    more = scales.twice(scales.twice(more, half.shape[:2]), image.shape[:2])
    derainer.frame = 82
    output, output_maps = derainer.derain(image, attention=True)
    np.testing.assert_allclose(np.float64(output), expected, atol=1e-5)
    np.testing.assert_allclose(output_maps, np.maximum(maps, more), atol=1e-5)
    assert derainer.run(image)[0].shape == image.shape
    # Not where the first pass found nothing large.
    monkeypatch.setattr(scales, "_CHANGED", 255)
    with monkeypatch.context() as once_alone:
        once_alone.setattr(derainer, "_shared_shape", None)
        np.testing.assert_array_equal(derainer.derain(image), once)
    monkeypatch.setattr(scales, "_CHANGED", -1)
    derainer.fast = True
    np.testing.assert_array_equal(derainer.derain(image), once)


def test_fast_is_a_flag_of_the_command_line(tmp_path):
    wet, dry, weights = (tmp_path / n for n in ("wet.png", "dry.png", "w.safetensors"))
    safetensors_file.write(GATED, weights, "float32")
    derainer = Derainer(GATED)
    image = picture(8, 2 * derainer.frame)
    pictures.write_image(wet, image)
    command = ["derain", str(wet), str(dry), f"--weights={weights}", "--fast"]
    assert cli.main(command) == 0
    assert (derainer.derain(image) != pictures.read_image(dry)).any()
    derainer.fast = True
    np.testing.assert_array_equal(derainer.derain(image), pictures.read_image(dry))


def test_fast_looks_at_one_size_alone():
    derainer, alone = Derainer(LOADED), Derainer(LOADED)
    derainer.fast, alone.frame = True, 0
    image = picture(83, 61)
    derainer.frame = 42
    np.testing.assert_array_equal(derainer.derain(image), alone.derain(image))
    derainer.frame = 41
    before = image.copy()
    output, maps = derainer.derain(image, attention=True)
    np.testing.assert_array_equal(image, before)
    small = scales.half(image)
    clean, more = alone.derain(small, attention=True)
    expected = image.copy()
    scales.bring_back(expected, small, clean)
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(maps, scales.twice(more, image.shape[:2]).clip(0))


def test_batches_compile_once():
    derainer = Derainer(LOADED)
    for size in [(12, 20), (16, 8), (9, 13), (13, 21)]:
        derainer.run_many([picture(*size)] * 2, shape=(24, 24))
    assert len(derainer._engine._programs) == 1


@pytest.mark.parametrize("size", [(61, 1201), (300, 301)])
def test_tiles_show_no_seam(derainer, small_tiles, size):
    image = picture(*size)
    assert small_tiles.is_tiled(size)
    whole, whole_maps = derainer.run(image)
    cut, cut_maps = small_tiles.run(image)
    np.testing.assert_allclose(cut, whole, atol=0.5 / 255)
    np.testing.assert_allclose(cut_maps, whole_maps, atol=1e-3)
    np.testing.assert_array_equal(
        small_tiles.derain(image), pixel_values.from_float(cut, np.uint8)
    )


def test_devices_share_a_batch(derainer):
    images = [picture(12, 20) for _ in range(5)]
    several = Derainer(LOADED, engine=JaxEngine(LOADED, jax.devices()[:4]))
    for one, other in zip(
        derainer.run_many(images, raw=True),
        several.run_many(images, raw=True),
        strict=True,
    ):
        np.testing.assert_allclose(one[0], other[0], atol=1e-6)


def test_python_api(tmp_path):
    safetensors_file.write(LOADED, tmp_path / "tiny.safetensors", "float32")
    model = raindrop.load(tmp_path / "tiny.safetensors")
    images = np.stack([picture(10, 14) for _ in range(3)])
    outputs, maps = model.derain(images, attention=True)
    assert outputs.shape == images.shape
    assert outputs.dtype == np.uint8
    assert maps.shape == (2, 3, 10, 14, 1)
    np.testing.assert_array_equal(model.derain(images[1]), outputs[1])
    for dtype in (np.float16, np.float32, np.float64):
        floats = model.derain((images[0] / 255).astype(dtype))
        assert floats.dtype == dtype
        assert np.abs(floats * 255 - outputs[0]).max() < 1
    for wrong in (images[..., :1], images.astype(np.int32), images[:, :0]):
        with pytest.raises(UserError, match="pictures are"):
            model.derain(wrong)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import raindrop, sys; "
        "print([m for m in ('jax', 'flax', 'tensorflow', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("loaded", "tile"), [(LOADED, 0), (LOADED, 256), (GATED, 0), (GATED, 256)]
)
def test_smoothing_steadies_the_last_map(loaded, tile):
    one = Derainer(loaded, tile=tile)
    frames = [picture(250, 270) for _ in range(4)]
    plain = one.run_many(frames, attention=True, raw=True)
    none = one.run_many(frames, attention=True, raw=True, smoothing=Smoothing(0.0))
    steady = one.run_many(frames, attention=True, raw=True, smoothing=Smoothing(0.8))
    for a, b in zip(plain, none, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-5)

    def change(results):
        maps = np.stack([maps[-1] for _, maps in results])
        return np.abs(np.diff(maps, axis=0)).mean()

    assert change(steady) < 0.5 * change(plain)
    # Frame by frame with one state is the same as all at once.
    smoothing = Smoothing(0.8)
    for frame, expected in zip(frames, steady, strict=True):
        [(output, _)] = one.run_many([frame], raw=True, smoothing=smoothing)
        np.testing.assert_allclose(output, expected[0], atol=1e-5)


def test_tiles_must_be_larger_than_their_overlap():
    with pytest.raises(UserError, match="at least"):
        Derainer(LOADED, tile=60)


@pytest.mark.parametrize("size", [(60, 90), (300, 400)])
def test_progress_adds_up_to_all_pixels(small_tiles, size):
    done = []
    small_tiles.run_many([picture(*size)] * 2, advance=done.append)
    assert sum(done) == 2 * size[0] * size[1]
    assert min(done) > 0
