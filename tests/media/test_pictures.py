import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from raindrop.errors import UserError
from raindrop.media import pictures, pixel_values
from raindrop.media.pictures import Picture

RNG = np.random.default_rng(0)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(dtype=np.uint8, alpha=False, gray=False, size=(5, 7)):
    top = np.iinfo(dtype).max
    shape = (*size, 1) if gray else (*size, 3)
    pixels = RNG.integers(0, top, shape, dtype, endpoint=True)
    pixels = np.repeat(pixels, 3, axis=-1) if gray else pixels
    mask = RNG.integers(0, top, size, dtype, endpoint=True) if alpha else None
    exif = Image.Exif()
    exif[0x10F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    exif.get_ifd(0x8825)[1] = "N"
    return Picture(pixels, mask, gray, icc_profile=ICC, exif=exif)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_lossless_formats_carry_everything(tmp_path, extension, gray, alpha, dtype):
    before = picture(dtype, alpha, gray)
    pictures.encode(tmp_path / f"a{extension}", before)
    after = pictures.decode(tmp_path / f"a{extension}")
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.pixels.dtype == dtype
    assert after.gray == gray
    if alpha:
        np.testing.assert_array_equal(after.alpha, before.alpha)
    else:
        assert after.alpha is None
    assert after.icc_profile == ICC
    assert after.exif[0x10F] == "Maker"
    assert after.exif.get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"
    assert after.exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_need_no_exif_and_keep_dpi(tmp_path, extension, alpha):
    before = picture(np.uint16, alpha)
    before.exif, before.dpi = Image.Exif(), (300, 300)
    pictures.encode(tmp_path / f"a{extension}", before)
    after = pictures.decode(tmp_path / f"a{extension}")
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
def test_exif_text_keeps_its_bytes(tmp_path, extension):
    before = picture()
    before.exif[0x13B] = "Jörg Müller".encode()
    before.exif[0x9C9D] = "Jörg".encode("utf-16-le")
    pictures.encode(tmp_path / "a.jpg", before)
    pictures.encode(tmp_path / f"b{extension}", pictures.decode(tmp_path / "a.jpg"))
    after = Image.open(tmp_path / f"b{extension}").getexif()
    assert after[0x13B].encode("latin-1").decode() == "Jörg Müller"
    assert bytes(after[0x9C9D]).decode("utf-16-le") == "Jörg"


def test_damaged_exif_does_not_cost_the_picture(tmp_path, caplog):
    pictures.encode(tmp_path / "a.jpg", picture())
    text, fraction = b"\x01\x0f\0\x02", b"\x01\x0f\0\x05"  # types of the maker
    whole = (tmp_path / "a.jpg").read_bytes()
    assert text in whole
    (tmp_path / "a.jpg").write_bytes(whole.replace(text, fraction))
    after = pictures.decode(tmp_path / "a.jpg")
    assert "EXIF data are damaged" in caplog.text
    for extension in (".jpg", ".tif"):
        pictures.encode(tmp_path / f"b{extension}", after)


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_lossy_formats_carry_metadata(tmp_path, extension):
    before = picture()
    before.pixels[:] = 40, 120, 200
    pictures.encode(tmp_path / f"a{extension}", before)
    after = pictures.decode(tmp_path / f"a{extension}")
    assert np.abs(after.pixels.astype(int) - before.pixels).max() <= 3
    assert after.icc_profile == ICC
    assert after.exif.get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"


def test_webp_keeps_alpha_and_jpeg_keeps_gray(tmp_path):
    before = picture(alpha=True)
    pictures.encode(tmp_path / "a.webp", before)
    after = pictures.decode(tmp_path / "a.webp")
    np.testing.assert_array_equal(after.alpha, before.alpha)
    pictures.encode(tmp_path / "a.jpg", picture(gray=True))
    assert pictures.decode(tmp_path / "a.jpg").gray
    assert Image.open(tmp_path / "a.jpg").mode == "L"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png8", "png16", "tif8", "tif16"])
def test_orientation_is_honoured_once(tmp_path, kind, orientation):
    """Turned as Pillow turns its own 8-bit pictures; the next file says nothing."""
    dtype = np.uint16 if kind.endswith("16") else np.uint8
    before = picture(dtype)
    before.exif[0x112] = orientation
    path = tmp_path / f"a.{kind[:3]}"
    if kind.startswith("tif"):
        import tifffile

        tag = (0x112, "H", 1, orientation, True)
        tifffile.imwrite(path, before.pixels, photometric="rgb", extratags=[tag])
    else:
        pictures.encode(path, before)
    probe = Image.fromarray(pixel_values.to_uint8(before.pixels))
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    probe.save(file, "PNG", exif=exif)

    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    after = pictures.decode(path)
    np.testing.assert_array_equal(pixel_values.to_uint8(after.pixels), upright)
    assert pictures.image_size(path) == upright.shape[:2]
    pictures.encode(tmp_path / "b.png", after)
    assert pictures.image_size(tmp_path / "b.png") == upright.shape[:2]


def test_tiffs_as_others_write_them(tmp_path):
    """Turned and not compressed; zero as white; colours multiplied by alpha."""
    import tifffile

    path = tmp_path / "a.tif"
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        gray = RNG.integers(0, top, (5, 7), dtype)
        turned = [(0x112, "H", 1, 6, True)]
        tifffile.imwrite(path, gray, extratags=turned, photometric="minisblack")
        after = pictures.decode(path)
        np.testing.assert_array_equal(after.pixels[..., 0], np.rot90(gray, -1))
        assert pictures.image_size(path) == (7, 5)
        tifffile.imwrite(path, gray, photometric="miniswhite")
        np.testing.assert_array_equal(pictures.decode(path).pixels[..., 0], top - gray)
        half = np.full((5, 7, 4), top // 2, dtype)
        half[..., :3] = top // 4
        tifffile.imwrite(path, half, photometric="rgb", extrasamples=["assocalpha"])
        after = pictures.decode(path)
        assert np.abs(after.pixels / top - 0.5).max() < 0.01
        assert (after.alpha == top // 2).all()


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "L", "LA"])
def test_other_modes_come_as_rgb(tmp_path, mode):
    image = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    pixels = pictures.read_image(path)
    assert pixels.shape == (4, 6, 3)
    assert pixels.min() >= 254


def test_damaged_and_dangerous_files_are_named(tmp_path):
    pictures.write_image(tmp_path / "a.png", picture(size=(64, 64)).pixels)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("deep.png", "deep.tif"):
        pictures.encode(tmp_path / name, picture(np.uint16, size=(64, 64)))
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no picture")
    # A header that claims 60000 x 60000.
    bomb = bytearray(whole)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bomb)
    for name, words in [
        ("cut.png", "cannot be decoded"),
        ("deep.png", "cannot be decoded"),
        ("deep.tif", "deep.tif"),
        ("text.png", "is no picture"),
        ("bomb.png", "max_megapixels"),
        ("none.png", "does not exist"),
    ]:
        with pytest.raises(UserError, match=words) as error:
            pictures.decode(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_pixel_limit_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    pictures.write_image(tmp_path / "a.png", picture(size=(100, 100)).pixels)
    pictures.limit_megapixels(0.009)
    with pytest.raises(UserError, match="more than"):
        pictures.image_size(tmp_path / "a.png")
    pictures.limit_megapixels(0.01)
    assert pictures.image_size(tmp_path / "a.png") == (100, 100)


def test_nothing_is_left_where_writing_fails(tmp_path):
    with pytest.raises(UserError, match="ends in"):
        pictures.write_image(tmp_path / "a.gif", picture().pixels)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        pictures.write_image(tmp_path / "a.png", picture().pixels)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 2), (3, 5), (8, 4)])
def test_padding_reflects_and_crops_back(size):
    image = RNG.random((*size, 3))
    padded = pictures.pad_to_multiple(image)
    height, width = size
    assert padded.shape[0] % 4 == padded.shape[1] % 4 == 0
    np.testing.assert_array_equal(padded[:height, :width], image)
    if height % 4 and height > 1:
        np.testing.assert_array_equal(padded[height, :width], image[-2])


def test_integer_and_float_conversions_are_inverse():
    for dtype in (np.uint8, np.uint16):
        values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        floats = pixel_values.to_float(values)
        np.testing.assert_array_equal(pixel_values.from_float(floats, dtype), values)
    np.testing.assert_array_equal(
        pixel_values.to_uint8(np.arange(256, dtype=np.uint16) * 257), np.arange(256)
    )
