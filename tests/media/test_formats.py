"""JPEG, PNG, AVIF, HEIC, GIF and what goes with their pixels, kept or said lost."""

import io
import itertools
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from raindrop.errors import UserError
from raindrop.media import formats, pictures, pixel_values

RNG = np.random.default_rng(0)
REPORTS = Path(__file__).parents[3] / "shared" / "reports"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">rain</x:xmpmeta>'
IPTC = b"\x1c\x02\x19\x00\x04rain"
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
formats.enable_plugins()


def smooth(height=48, width=64):
    rows, columns = np.mgrid[:height, :width]
    red, green = 255 * rows / height, 255 * columns / width
    return np.stack([red, green, 255 - red], axis=-1).astype(np.uint8)


def report(name, *more):
    path = REPORTS / name
    missing = pytest.mark.skipif(not path.exists(), reason="no ../shared")
    return pytest.param(path, *more, marks=missing, id=name)


@pytest.mark.parametrize(
    ("path", "size", "dtype", "note"),
    [
        report("tiff/planar.tif", (64, 96), np.uint16, None),
        report("tiff/planar8.tif", (64, 96), np.uint8, None),
        report("tiff/imagej.tif", (64, 96), np.uint16, "first of its 3 pictures"),
        report("pictures/saved_by_chrome.jfif", (64, 96), np.uint8, None),
        report("pictures/web.avif", (64, 96), np.uint8, None),
        report("pictures/named_heic_really_avif.heic", (64, 96), np.uint8, None),
        report("pictures/screenshot.gif", (64, 96), np.uint8, None),
        report("metadata/photo.jpg", (64, 96), np.uint8, None),
        report("metadata/picture.png", (64, 96), np.uint8, None),
    ],
)
def test_reports_are_read(path, size, dtype, note):
    after = pictures.decode(path)
    assert after.pixels.shape == (*size, 3)
    assert after.pixels.dtype == dtype
    assert pictures.image_size(path) == size
    assert [note in n for n in after.notes] == ([True] if note else [])
    if "planar" in path.name:  # one photograph, in every file of the reports
        other = pictures.decode(REPORTS / "metadata" / "picture.png").pixels
        assert (
            np.abs(pixel_values.to_uint8(after.pixels).astype(int) - other).max() <= 1
        )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        report("tiff/int16.tif", "signed integers of 16 bits, from 257 to 32767"),
        report("pairs_one_cut/data/4.jpg", "it ends too early"),
    ],
)
def test_reports_are_refused_with_the_reason(path, words):
    with pytest.raises(UserError, match=words):
        pictures.decode(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 3])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_read(
    tmp_path, mode, progressive, restarts
):
    path = tmp_path / "a.jpg"
    image = Image.fromarray(smooth()).convert(mode)
    options = {"restart_marker_blocks": restarts} if restarts else {}
    image.save(path, quality=90, progressive=progressive, **options)
    whole = path.read_bytes()
    expected = pictures.decode(path).pixels
    for cut in (1, 2):
        path.write_bytes(whole[:-cut])
        after = pictures.decode(path)
        np.testing.assert_array_equal(after.pixels, expected)
        assert "its end marker is missing, and nothing else" in after.notes
        assert pictures.image_size(path) == (48, 64)
    for cut in itertools.chain(range(4, 40, 3), range(40, len(whole) - 20, 37)):
        path.write_bytes(whole[:-cut])
        with pytest.raises(UserError, match=r"a\.jpg"):
            pictures.decode(path)


def test_a_progressive_jpeg_that_lacks_scans_is_not_whole(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).save(path, progressive=True)
    whole = path.read_bytes()
    scans = [i for i in range(len(whole)) if whole[i : i + 2] == b"\xff\xda"]
    assert len(scans) > 3
    # Tables of the next scan may be in between; they change nothing.
    path.write_bytes(whole[: scans[-1]])
    with pytest.raises(UserError, match="ends too early"):
        pictures.decode(path)


def test_a_jpeg_with_a_damaged_middle_is_not_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff\xd9" + bytes(198)
    path.write_bytes(data)
    assert np.asarray(Image.open(path)).shape == (64, 64, 3)  # Pillow does
    with pytest.raises(UserError, match="cannot be decoded"):
        pictures.decode(path)


def with_chunk(data, kind, body):
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]


def png_file(array, *chunks):
    data = imagecodecs.png_encode(array)
    for kind, body in chunks:
        data = with_chunk(data, kind, body)
    return data


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_value_of_16_bits_is_alpha(tmp_path, channels):
    array = RNG.integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    array[2, 3] = array[4, 4] = value = RNG.integers(0, 65536, channels)
    body = struct.pack(f">{channels}H", *value)
    data = png_file(array.squeeze(), (b"tRNS", body))
    (tmp_path / "a.png").write_bytes(data)
    after = pictures.decode(tmp_path / "a.png")
    transparent = np.zeros((5, 7), bool)
    transparent[2, 3] = transparent[4, 4] = True
    np.testing.assert_array_equal(after.alpha, np.where(transparent, 0, 65535))
    assert after.gray == (channels == 1)
    assert (after.pixels[..., :channels] == array).all()


def test_gray_with_alpha_of_16_bits_stays_gray(tmp_path):
    array = RNG.integers(0, 65536, (5, 7, 2)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png_file(array))
    before = pictures.decode(tmp_path / "a.png")
    assert before.gray
    before.pixels = before.pixels ^ np.array([1, 2, 4], np.uint16)  # a network's tint
    pictures.encode(tmp_path / "b.png", before)
    after = pictures.decode(tmp_path / "b.png")
    assert after.gray
    assert (after.pixels[..., 0] == after.pixels[..., 2]).all()
    np.testing.assert_array_equal(after.alpha, array[..., 1])


@pytest.mark.parametrize("gamma", [1.0, 0.45455, 0.3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gamma_is_kept_or_worked_in(tmp_path, gamma, dtype):
    array = smooth().astype(dtype) * (257 if dtype == np.uint16 else 1)
    chunk = b"gAMA", struct.pack(">I", round(gamma * 1e5))
    (tmp_path / "a.png").write_bytes(png_file(array, chunk))
    before = pictures.decode(tmp_path / "a.png")
    pictures.encode(tmp_path / "b.png", before)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["gamma"] == pytest.approx(gamma)
    np.testing.assert_array_equal(pictures.decode(tmp_path / "b.png").pixels, array)
    # Other formats know no gamma: light stays what it was.
    pictures.encode(tmp_path / "b.tif", before)
    after = pixel_values.to_float(pictures.decode(tmp_path / "b.tif").pixels)
    light = pixel_values.to_float(array) ** (1 / gamma)
    error = np.abs(after**2.2 - light)
    assert error.max() < (0.01 if dtype == np.uint8 else 1e-3)
    assert ("gamma" in " ".join(before.notes)) == (abs(gamma - 0.45) > 0.1)


KEPT = {
    # What the format holds, of: profile, XMP, IPTC, comment, text
    ".jpg": ("icc_profile", "xmp", "iptc", "comment"),
    ".png": ("icc_profile", "xmp", "text"),
    ".tif": ("icc_profile", "xmp", "iptc"),
    ".webp": ("icc_profile", "xmp"),
    ".avif": ("icc_profile", "xmp"),
    ".heic": ("icc_profile", "xmp"),
    ".bmp": (),
}
WORDS = {
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "iptc": "IPTC",
    "comment": "the comment",
    "text": "PNG text",
}


@pytest.mark.parametrize("extension", KEPT)
def test_metadata_is_kept_or_said_lost(tmp_path, extension, caplog):
    before = pictures.Picture(
        smooth(),
        icc_profile=ICC,
        xmp=XMP,
        iptc=IPTC,
        comment=b"from the bridge",
        text={"Title": "Rain", "Ort": "Brücke \u2602"},
    )
    pictures.encode(tmp_path / f"a{extension}", before)
    after = pictures.decode(tmp_path / f"a{extension}")
    for name, words in WORDS.items():
        lost = any(f"{words} is lost" in note for note in before.notes)
        if name in KEPT[extension]:
            assert not lost
            kept = getattr(after, name)
            if name == "text":
                assert kept.pop("Comment") == "from the bridge"
            assert kept == getattr(before, name)
        elif name != "comment" or extension != ".png":  # there it is text
            assert lost
            assert f"{words} is lost" in caplog.text


def test_what_is_too_long_for_a_jpeg_does_not_cost_the_picture(tmp_path):
    before = pictures.Picture(smooth(), xmp=b"x" * 70000, comment=b"y" * 70000)
    before.exif.get_ifd(0x8769)[0x927C] = b"z" * 70000
    pictures.encode(tmp_path / "a.jpg", before)
    assert len(before.notes) == 3
    assert all("are too many" in note for note in before.notes)
    pictures.decode(tmp_path / "a.jpg")


def test_xmp_says_nothing_of_turns_or_of_other_pictures(tmp_path):
    """Of the first the pixels have taken one; the others stay behind."""
    exif = Image.Exif()
    exif[0x112] = 6
    xmp = b'<rdf tiff:Orientation="6" dc:title="rain"/>'
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif, xmp=xmp)
    after = pictures.decode(tmp_path / "a.jpg")
    assert after.pixels.shape == (64, 48, 3)
    assert b"Orientation" not in after.xmp
    assert b"rain" in after.xmp
    xmp = b'<rdf hdrgm:Version="1.0"/>'
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", xmp=xmp)
    after = pictures.decode(tmp_path / "a.jpg")
    assert after.xmp is None
    assert any("further pictures" in note for note in after.notes)


@pytest.mark.parametrize("with_profile", [False, True])
def test_cmyk_becomes_rgb(tmp_path, with_profile):
    colours = np.zeros((16, 16, 3), np.uint8) + np.array([200, 60, 20], np.uint8)
    image = Image.fromarray(colours).convert("CMYK")
    image.save(
        tmp_path / "a.jpg", quality=100, icc_profile=b"no profile" * with_profile
    )
    after = pictures.decode(tmp_path / "a.jpg")
    assert np.abs(after.pixels.astype(int) - colours).max() <= 6
    assert after.icc_profile is None
    assert any("CMYK" in note for note in after.notes)


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif", "avif"])
def test_of_several_frames_the_first_is_taken_and_said(tmp_path, extension):
    frames = [Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (40, 200)]
    path = tmp_path / f"a.{extension}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    after = pictures.decode(path)
    assert "only the first of its 2 pictures is taken" in after.notes
    assert abs(after.pixels.mean() - 40) < 4


def test_gif_with_transparency(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 1), 1)
    image.save(tmp_path / "a.gif", transparency=1)
    after = pictures.decode(tmp_path / "a.gif")
    assert (after.alpha == 0).sum() == 1
    assert after.alpha[1, 1] == 0


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"]
)
def test_formats_are_found_by_content(tmp_path, kind):
    for name in ("none", "wrong.png", "wrong.jpg", "wrong.tif", "wrong.heic"):
        Image.fromarray(smooth()).save(tmp_path / name, kind)
        assert formats.of_content(tmp_path / name) == kind
        assert pictures.decode(tmp_path / name).pixels.shape == (48, 64, 3)
        assert pictures.image_size(tmp_path / name) == (48, 64)


@pytest.mark.parametrize(
    "content", [b"", b"BM", b"text", b"%PDF-1.4", b"%!PS-Adobe", b"8BPS"]
)
def test_no_other_reader_of_pillows_is_asked(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert formats.of_content(tmp_path / "a.png") is None
    for read in (pictures.decode, pictures.image_size):
        with pytest.raises(UserError, match="no picture"):
            read(tmp_path / "a.png")


def test_depths_that_are_cut_are_said(tmp_path):
    deep = RNG.integers(0, 1024, (16, 16, 3)).astype(np.uint16)
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(deep, bitspersample=10))
    assert "its 10 bits are read as 8" in pictures.decode(tmp_path / "a.avif").notes
    before = pictures.Picture(deep * 64, np.full((16, 16), 9, np.uint16))
    pictures.encode(tmp_path / "a.jpg", before)
    assert [note.split(":")[0] for note in before.notes] == [
        "uint16 is lost",
        "alpha is lost",
    ]


def test_floats_stay_floats_in_a_tiff_and_are_said_lost_elsewhere(tmp_path):
    before = pictures.Picture(RNG.random((8, 9, 3)).astype(np.float32))
    pictures.encode(tmp_path / "a.tif", before)
    assert not before.notes
    after = pictures.decode(tmp_path / "a.tif")
    np.testing.assert_array_equal(after.pixels, before.pixels)
    pictures.encode(tmp_path / "a.png", before)
    assert any("floats are lost" in note for note in before.notes)
    after = pictures.decode(tmp_path / "a.png").pixels
    assert after.dtype == np.uint16
    np.testing.assert_allclose(pixel_values.to_float(after), before.pixels, atol=1e-5)


def test_png_text_of_imagemagick_does_not_turn_the_picture_again(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n 8\n4578696600004d4d")
    info.add_text("Title", "Rain")
    Image.fromarray(smooth()).save(tmp_path / "a.png", pnginfo=info)
    assert pictures.decode(tmp_path / "a.png").text == {"Title": "Rain"}


def test_jpeg_xl_is_read_where_its_plugin_is(tmp_path):
    pytest.importorskip("pillow_jxl")
    deep = RNG.integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    for array, notes in [(smooth(), 0), (deep, 1)]:
        data = imagecodecs.jpegxl_encode(array, lossless=True)
        (tmp_path / "a.jxl").write_bytes(data)
        after = pictures.decode(tmp_path / "a.jxl")
        assert np.abs(after.pixels - array / (257 if notes else 1)).max() <= 1
        assert len(after.notes) == notes
    with pytest.raises(UserError, match="cannot be written"):
        pictures.encode(tmp_path / "a.jxl", after)


@pytest.mark.parametrize("kind", ["JXL", formats.RAW, "HEIF"])
def test_what_is_not_installed_is_named(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(formats, "is_readable", lambda name: name != kind)
    content = {"JXL": b"\xff\x0a", "HEIF": b"\0\0\0\x18ftypheic", formats.RAW: b"II*\0"}
    path = tmp_path / f"a{'.dng' if kind == formats.RAW else ''}"
    path.write_bytes(content[kind] + bytes(64))
    with pytest.raises(UserError, match="needs `pip install"):
        pictures.decode(path)


def test_camera_raw_is_developed_to_srgb(tmp_path):
    """A DNG of one colour; the camera's matrix is that of sRGB."""
    pytest.importorskip("rawpy")
    light = np.array([0.5, 0.25, 0.1])
    sensor = np.zeros((64, 96), np.uint16)
    for (row, column), channel in zip(np.ndindex(2, 2), (0, 1, 1, 2), strict=True):
        sensor[row::2, column::2] = light[channel] * 16383
    matrix = [
        3.2405,
        -1.5371,
        -0.4985,
        -0.9693,
        1.8760,
        0.0416,
        0.0556,
        -0.2040,
        1.0572,
    ]
    tags = [
        *((tag, "s", 0, "Test", True) for tag in (271, 272, 50708)),
        (0x828D, "H", 2, (2, 2), True),  # the pattern's size, and the pattern
        (0x828E, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50717, "I", 1, 16383, True),  # white
        (50721, "2i", 9, [v for m in matrix for v in (round(m * 1e4), 10000)], True),
        (50728, "2I", 3, [1] * 6, True),  # neutral
        (50778, "H", 1, 21, True),  # D65
    ]
    path = tmp_path / "a.dng"
    tifffile.imwrite(path, sensor, photometric=32803, metadata=None, extratags=tags)
    after = pictures.decode(path)
    assert after.pixels.shape == (*pictures.image_size(path), 3) == (64, 96, 3)
    assert after.pixels.dtype == np.uint16
    srgb = 1.055 * light ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(
        pixel_values.to_float(after.pixels)[32, 48], srgb, atol=0.01
    )
    assert after.exif[0x10F] == "Test"
    assert any("LibRaw" in note for note in after.notes)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="LibRaw says"):
        pictures.decode(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_every_format_is_turned_once(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    exif.get_ifd(0x8769).update({0xA002: 64, 0xA003: 48})
    stored = Image.fromarray(smooth())
    stored.save(tmp_path / "a", kind, exif=exif.tobytes(), quality=100)
    probe = io.BytesIO()
    stored.save(probe, "PNG", exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(probe))).astype(int)
    after = pictures.decode(tmp_path / "a")
    assert pictures.image_size(tmp_path / "a") == upright.shape[:2]
    assert np.abs(after.pixels.astype(int) - upright).mean() < 4
    entries = after.exif.get_ifd(0x8769)
    assert (entries[0xA003], entries[0xA002]) == upright.shape[:2]
    for ending in (".jpg", ".png", ".tif", ".avif", ".heic", ".webp"):
        pictures.encode(tmp_path / f"b{ending}", after)
        again = pictures.decode(tmp_path / f"b{ending}").pixels.astype(int)
        assert np.abs(again - upright).mean() < 8
        assert Image.open(tmp_path / f"b{ending}").getexif().get(0x112, 1) == 1


@pytest.mark.parametrize("kind", ["rgb inside", "ycck", "cmyk", "gray", "odd chroma"])
def test_colours_of_jpegs_are_those_that_pillow_sees(tmp_path, kind):
    path = tmp_path / "a.jpg"
    image = Image.fromarray(smooth(47, 61))
    if kind == "rgb inside":
        image.save(path, keep_rgb=True)
    elif kind in ("ycck", "cmyk"):
        inks = np.asarray(image.convert("CMYK"))
        path.write_bytes(
            imagecodecs.jpeg8_encode(
                inks, colorspace="CMYK", outcolorspace=kind.upper()
            )
        )
    elif kind == "gray":
        image.convert("L").save(path)
    else:
        image.save(path, subsampling="4:2:0")
    with Image.open(path) as theirs:
        expected = np.asarray(theirs.convert("RGB")).astype(int)
    after = pictures.decode(path)
    assert np.abs(after.pixels - expected).max() <= 1
    assert after.gray == (kind == "gray")
