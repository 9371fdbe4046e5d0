"""TIFF as other programs write it: the right values, or one true line."""

import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from raindrop.errors import UserError
from raindrop.media import pictures

RNG = np.random.default_rng(0)


def values(dtype, *shape):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return RNG.random(shape).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def expected(array):
    """What `decode` makes of the stored values."""
    if array.dtype == np.uint32:
        return (array >> 16).astype(np.uint16)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd"])
def test_layouts(tmp_path, planar, dtype, alpha, compression):
    """Planes and pixels; strips and tiles; either byte order; classic and BigTIFF."""
    array = values(dtype, 37, 21, 3 + alpha)
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    predictor = compression in ("lzw", "deflate") and array.dtype.kind == "u"
    for byteorder, tile, big in [("<", None, False), (">", (16, 16), True)]:
        tifffile.imwrite(
            tmp_path / "a.tif",
            stored,
            photometric="rgb",
            planarconfig=planar,
            extrasamples=["unassalpha"] if alpha else None,
            compression=compression,
            predictor=predictor,
            byteorder=byteorder,
            tile=tile,
            rowsperstrip=None if tile else 8,
            bigtiff=big,
        )
        after = pictures.decode(tmp_path / "a.tif")
        np.testing.assert_array_equal(after.pixels, expected(array[..., :3]))
        assert (after.alpha is not None) == alpha
        cut = array.dtype.itemsize > after.pixels.dtype.itemsize
        assert any("bits are read as" in note for note in after.notes) == cut
        if alpha:
            np.testing.assert_array_equal(after.alpha, expected(array[..., 3]))
        assert pictures.image_size(tmp_path / "a.tif") == (37, 21)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_gray(tmp_path, dtype, alpha, photometric):
    array = values(dtype, 9, 14, 1 + alpha)
    kept = array if alpha else array[..., 0]
    tifffile.imwrite(
        tmp_path / "a.tif",
        kept,
        photometric=photometric,
        planarconfig="contig" if alpha else None,
        extrasamples=["unassalpha"] if alpha else None,
    )
    after = pictures.decode(tmp_path / "a.tif")
    gray = expected(array[..., 0])
    if photometric == "miniswhite":
        gray = (1 if gray.dtype == np.float32 else np.iinfo(gray.dtype).max) - gray
    assert after.gray
    np.testing.assert_array_equal(after.pixels, np.repeat(gray[..., None], 3, -1))
    if alpha:
        np.testing.assert_array_equal(after.alpha, expected(array[..., 1]))
    # And once more, through a file of ours: nothing tinted, nothing lost.
    pictures.encode(tmp_path / "b.tif", after)
    again = pictures.decode(tmp_path / "b.tif")
    assert again.gray
    # The luma of equal floats is theirs up to the last bit.
    np.testing.assert_allclose(again.pixels, after.pixels, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_depths_between(tmp_path, bits):
    """White is white, whatever number of bits says it."""
    top = 2**bits - 1
    array = np.array([[0, top, top // 2, top]], np.uint8 if bits <= 8 else np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, bitspersample=bits)
    pixels = pictures.decode(tmp_path / "a.tif").pixels
    white = np.iinfo(pixels.dtype).max
    assert (pixels[0, 0] == 0).all()
    assert (pixels[0, 1] == white).all()
    assert abs(int(pixels[0, 2, 0]) / white - top // 2 / top) < 0.01


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (values("i2", 8, 9, 3), "signed integers of 16 bits, from"),
        (values("i1", 8, 9, 3), "signed integers of 8 bits"),
        (values("f4", 8, 9, 3) * 255, "floats from .* to .*, not in"),
        (values("f4", 8, 9, 3) - 0.5, "not in"),
        (np.full((8, 9, 3), np.nan, "f4"), "no numbers"),
        (values("u1", 8, 9, 3).astype("u4"), "reach only 2"),
        (values("f4", 8, 9) * 1j, "complex"),
    ],
)
def test_what_has_no_white_is_refused_with_the_reason(tmp_path, array, words):
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(UserError, match=words) as error:
        pictures.decode(tmp_path / "a.tif")
    assert "a.tif cannot be decoded" in str(error.value)


def test_channels_that_are_no_colours_are_refused(tmp_path):
    for count in (3, 5):
        array = values("u2", 8, 9, count)
        tifffile.imwrite(
            tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig"
        )
        with pytest.raises(UserError, match=f"{count} channels"):
            pictures.decode(tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "a.tif",
        values("u2", 8, 9, 5),
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unspecified", "unassalpha"],
    )
    after = pictures.decode(tmp_path / "a.tif")
    assert after.alpha is not None
    assert any("channels beside" in note for note in after.notes)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_jpeg_inside(tmp_path, planar):
    ramp = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
    axis = -1 if planar == "contig" else 0
    array = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        photometric="rgb",
        planarconfig=planar,
        compression="jpeg",
        compressionargs={"level": 95},
        tile=(16, 16),
    )
    after = pictures.decode(tmp_path / "a.tif").pixels
    array = np.moveaxis(array, axis, -1)
    assert np.abs(after.astype(int) - array).mean() < 3
    # A JPEG inside that is damaged is not taken for a whole one.
    data = bytearray((tmp_path / "a.tif").read_bytes())
    scan = data.rindex(b"\xff\xda")
    data[scan + 14 : scan + 20] = b"\xff\xd9\0\0\0\0"
    (tmp_path / "b.tif").write_bytes(data)
    with pytest.raises(UserError, match="cannot be decoded"):
        pictures.decode(tmp_path / "b.tif")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"]
)
def test_pillow_agrees(tmp_path, mode, compression):
    """Where Pillow can read it, it reads the same."""
    image = Image.fromarray(values("u1", 24, 32, 3)).resize((64, 48))
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    elif mode == "LA":
        image.putalpha(image.convert("L"))
        image = image.convert("LA")
    else:
        image = image.convert(mode)
    try:
        image.save(tmp_path / "a.tif", compression=compression)
    except (OSError, RuntimeError, SystemError):
        pytest.skip("not written by libtiff")
    if (mode, compression) == ("LAB", "jpeg"):
        with pytest.raises(UserError, match="colours are CIELAB"):
            pictures.decode(tmp_path / "a.tif")
        return
    after = pictures.decode(tmp_path / "a.tif").pixels.astype(int)
    if mode == "LAB":
        assert after.shape == (48, 64, 3)
        return
    with Image.open(tmp_path / "a.tif") as image:
        theirs = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(after - theirs).max() <= (3 if compression == "jpeg" else 1)


def test_a_missing_part_is_not_filled_with_black(tmp_path):
    array = values("u2", 64, 64, 3)
    for compression in (None, "deflate", "lzw"):
        tifffile.imwrite(
            tmp_path / "a.tif",
            array,
            photometric="rgb",
            rowsperstrip=8,
            compression=compression,
        )
        data = (tmp_path / "a.tif").read_bytes()
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            tag = tiff.pages[0].tags["StripByteCounts"]
            place, size = tag.valueoffset, tag.valuebytecount // tag.count
        sparse = data[:place] + b"\0" * size + data[place + size :]
        for damaged in (sparse, data[:-100], data[: len(data) // 2]):
            (tmp_path / "b.tif").write_bytes(damaged)
            with pytest.raises(UserError, match="cannot be decoded"):
                pictures.decode(tmp_path / "b.tif")


def test_pages_are_counted_and_layouts_not_described(tmp_path):
    """ImageJ's words on a stack do not go to what is none."""
    array = values("u2", 3, 8, 9)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True)
    after = pictures.decode(tmp_path / "a.tif")
    assert "only the first of its 3 pictures is taken" in after.notes
    np.testing.assert_array_equal(after.pixels[..., 0], array[0])
    assert 0x10E not in after.exif
    tifffile.imwrite(tmp_path / "a.tif", array[0], description="A bridge")
    assert pictures.decode(tmp_path / "a.tif").exif[0x10E] == "A bridge"


def test_a_cameras_raw_data_are_no_picture(tmp_path):
    tag = (50706, "B", 4, b"\1\4\0\0", True)
    tifffile.imwrite(tmp_path / "a.tif", values("u2", 8, 9), extratags=[tag])
    with pytest.raises(UserError, match="raw data"):
        pictures.decode(tmp_path / "a.tif")


def test_xmp_iptc_profile_and_resolution_stay(tmp_path):
    before = pictures.Picture(
        values("u2", 8, 9, 3),
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        xmp=b"<x:xmpmeta/>",
        iptc=b"\x1c\x02\x19\x00\x04rain",
        dpi=(300.0, 300.0),
    )
    for _ in range(2):
        pictures.encode(tmp_path / "a.tif", before)
        before = pictures.decode(tmp_path / "a.tif")
    assert before.xmp == b"<x:xmpmeta/>"
    assert before.iptc == b"\x1c\x02\x19\x00\x04rain"
    assert before.dpi == pytest.approx((300, 300))
    assert before.icc_profile
    assert not before.notes


def test_float_alpha_and_associated_alpha(tmp_path):
    for dtype, kind in itertools.product(("u1", "u2", "f4"), ("assocalpha",)):
        top = 1 if dtype == "f4" else np.iinfo(dtype).max
        array = np.full((4, 5, 4), top / 2, dtype)
        array[..., :3] = top / 4
        tifffile.imwrite(
            tmp_path / "a.tif", array, photometric="rgb", extrasamples=[kind]
        )
        after = pictures.decode(tmp_path / "a.tif")
        assert np.abs(after.pixels / top - 0.5).max() < 0.02


def test_more_channels_than_a_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 40)
    array = np.zeros((40, 40, 60), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(UserError, match="max_megapixels"):
        pictures.decode(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", array[..., :3], photometric="rgb")
    assert pictures.decode(tmp_path / "a.tif").pixels.shape == (40, 40, 3)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_floats_with_a_predictor(tmp_path, planar):
    array = values("f4", 33, 20, 3)
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    options = {"photometric": "rgb", "planarconfig": planar, "compression": "deflate"}
    tifffile.imwrite(tmp_path / "a.tif", stored, predictor="floatingpoint", **options)
    np.testing.assert_array_equal(pictures.decode(tmp_path / "a.tif").pixels, array)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_of_any_depth(tmp_path, dtype, planar):
    inks = values("u1", 9, 11, 4)
    stored = inks if dtype == "u1" else inks.astype(np.uint16) * 257
    stored = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    options = {"photometric": "separated", "planarconfig": planar}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    after = pictures.decode(tmp_path / "a.tif")
    theirs = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    np.testing.assert_array_equal(after.pixels, theirs)
    assert any("of 8 bits" in note for note in after.notes) == (dtype == "u2")
