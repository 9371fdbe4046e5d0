"""Folders of pairs, good ones and bad ones."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from raindrop.data import (
    augmentation,
    layouts,
    masks,
    name_matching,
    pipeline,
    sources,
)
from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.rendering import render


def picture(height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def write(root, rainy="data/0_rain.png", clean="gt/0_clean.png", **size):
    pictures.write_image(root / rainy, picture(seed=1, **size))
    pictures.write_image(root / clean, picture(seed=2, **size))


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        ("data/7_rain.png", "gt/7_clean.png"),
        ("rain_image/7.png", "clean_image/7.jpg"),
        ("input/a/7-input.webp", "target/a/7_gt.png"),
        ("data/7_RAIN.png", "gt/7.png"),
    ],
)
def test_layouts_and_names(tmp_path, rainy, clean):
    write(tmp_path, rainy, clean)
    (pair,) = layouts.find_usable(tmp_path).files
    assert (pair.rainy, pair.clean) == (tmp_path / rainy, tmp_path / clean)
    assert pair.name == ("a/7" if "/a/" in rainy else "7")
    assert pair.read().rainy.shape == (24, 32, 3)
    folders = (tmp_path / rainy.split("/")[0], tmp_path / clean.split("/")[0])
    assert layouts.find_usable("", *folders).files == [pair]


def test_pictures_without_a_twin_are_named(tmp_path, caplog):
    write(tmp_path)
    write(tmp_path, "data/10_rain.png", "gt/9_clean.png")
    found, alone = layouts.find(tmp_path)
    assert [pair.name for pair in found] == ["0"]
    assert [path.name for path in alone] == ["10_rain.png", "9_clean.png"]
    layouts.find_usable(tmp_path)
    assert "10_rain.png" in caplog.text
    assert "9_clean.png" in caplog.text


def save(mode, **options):
    def make(path):
        Image.fromarray(picture()).convert(mode).save(path, **options)

    return make


def save_exif(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture(32, 24)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("gray.png", save("L")),
        ("palette.png", save("P")),
        ("opaque.png", save("RGBA")),
        ("turned.jpg", save_exif),
        ("plain.webp", save("RGB")),
    ],
)
def test_what_means_one_thing_is_read(tmp_path, name, make):
    write(tmp_path, clean=f"gt/0.{name.split('.')[1]}")
    make(tmp_path / "gt" / f"0.{name.split('.')[1]}")
    (pair,) = layouts.find_usable(tmp_path).files
    read = pair.read()
    assert read.clean.shape == read.rainy.shape == (24, 32, 3)
    assert read.clean.dtype == np.uint8


def save_transparent(path):
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[0, 0] = 0
    Image.fromarray(np.concatenate([picture(), alpha], -1)).save(path)


def save_16_bit_gray(path):
    Image.fromarray(np.uint16(picture()[..., 0])).save(path)


def save_16_bit_rgb(path):
    import cv2

    cv2.imwrite(str(path), np.uint16(picture()) * 257)


def truncate(path):
    save("RGB")(path)
    path.write_bytes(path.read_bytes()[:40])


def save_smaller(path):
    Image.fromarray(picture(20, 32)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("0.png", save_16_bit_gray, "16 bits"),
        ("0.png", save_16_bit_rgb, "16 bits"),
        ("0.tif", save_16_bit_rgb, "16 bits"),
        ("0.jpg", save("CMYK"), "is CMYK"),
        ("0.png", save_transparent, "is transparent in places"),
        ("0.png", lambda p: p.write_text("text"), "is no picture"),
        ("0.png", lambda p: p.write_bytes(b""), "is no picture"),
        ("0.jpg", truncate, "is no picture|cannot be decoded"),
        ("0.png", save_smaller, "is 32 x 20"),
    ],
)
def test_what_does_not_is_refused_before_training(tmp_path, name, make, words):
    write(tmp_path, clean=f"gt/{name}")
    make(tmp_path / "gt" / name)
    config = tiny.get_config()
    config.data.name = "pairs"
    config.data.dir = str(tmp_path)
    with pytest.raises(UserError, match=words) as error:
        pipeline.batches(config, 0)
    assert str(tmp_path / "gt" / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match=r"data\.dir is not set"):
        layouts.find_usable("")
    with pytest.raises(UserError, match="is not a folder"):
        layouts.find_usable(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds none of data/ and gt/"):
        layouts.find_usable(tmp_path)
    with pytest.raises(UserError, match=r"both data\.rainy and data\.clean"):
        layouts.find_usable(tmp_path, rainy=tmp_path)
    write(tmp_path, "data/a.png", "gt/b.png")
    with pytest.raises(UserError, match="has the name of one"):
        layouts.find_usable(tmp_path)
    write(tmp_path, "data/b.png", "gt/b.png")
    write(tmp_path, "data/b_rain.jpg", "gt/c.png")
    with pytest.raises(UserError, match="both go by the name 'b'"):
        layouts.find_usable(tmp_path)


def test_one_pair_cannot_be_trained_on_and_held_out(tmp_path):
    write(tmp_path)
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(tmp_path)
    with pytest.raises(UserError, match=r"eval\.num_images=0"):
        pipeline.batches(config, 0)


def test_a_run_is_never_evaluated_on_what_it_trains_on(tmp_path):
    """Unless all pairs are asked for by a folder of their own."""
    for i in range(12):
        write(tmp_path, f"data/{i}.png", f"gt/{i}.png")
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(tmp_path)
    (away,) = pipeline.validation_pairs(config)
    assert away.name not in sources.training(config, "pairs", 0).names
    config.eval.name = "pairs"
    assert [pair.name for pair in pipeline.validation_pairs(config)] == [away.name]
    assert len(list(pipeline.evaluation_pairs(config))) == 12
    config.eval.dir = str(tmp_path)
    assert len(list(pipeline.validation_pairs(config))) == 12


def test_damage_below_the_header_is_told_in_a_line(tmp_path):
    """The header passes; the run ends at that picture, with its name."""
    write(tmp_path, height=64, width=64)
    path = tmp_path / "data/0_rain.png"
    path.write_bytes(path.read_bytes()[:3000])
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(tmp_path)
    config.eval.num_images = 0
    with pytest.raises(UserError, match=r"0_rain\.png"):
        next(pipeline.batches(config, 0))


def test_crop_and_flip_take_both_pictures_alike(tmp_path):
    """Clean is rainy's negative: it still is after crop, flip and scale."""
    image = picture(40, 56)
    pictures.write_image(tmp_path / "data" / "0.png", image)
    pictures.write_image(tmp_path / "gt" / "0.png", 255 - image)
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(tmp_path)
    config.data.scale = (0.7, 1.5)
    config.eval.num_images = 0
    crops = pipeline.crops(config, 0)
    images = np.concatenate([next(crops)["images"] for _ in range(3)]).astype(int)
    assert np.abs(images[..., :3] + images[..., 3:] - 255).max() <= 1
    assert len(np.unique(images[:, 0, 0, 0])) > 6


def test_scale_keeps_the_aspect():
    """A disc stays one."""
    y, x = np.mgrid[:200, :300]
    disc = np.uint8(255 * (np.hypot(y - 100, x - 150) < 40))
    image = np.repeat(disc[..., None], 6, -1)
    for grown in (0.0, 0.999):
        draws = augmentation.Draws(0.5, 0.5, 0.9, grown, *[0.0] * 9)
        crop = augmentation.cut(image, draws, 120, (0.6, 1.4), False)[..., 0] > 127
        height, width = (np.ptp(axis) for axis in np.nonzero(crop))
        assert abs(height - width) <= 1
        assert abs(height / 80 - (0.6 if grown == 0 else 1.4)) < 0.05


@pytest.mark.parametrize(("what", "left"), [("blurred", 0.8), ("hazy", 0.85)])
def test_a_share_of_the_photographs_is_softened(what, left):
    """Those that are not stay what they were."""
    config = tiny.get_config()
    config.eval.num_images = 0
    batches = []
    for config.data[what] in (0.0, 0.5):
        crops = pipeline.crops(config, 0)
        batches.append(np.concatenate([next(crops)["images"] for _ in range(8)]))
    clear, mixed = (np.int32(batch) for batch in batches)
    same = (clear == mixed).all((1, 2, 3))
    assert 0.2 < same.mean() < 0.8
    contrast = [np.abs(np.diff(x[~same], axis=1)).mean() for x in (clear, mixed)]
    assert contrast[1] < left * contrast[0]


def test_a_subject_hides_one_side_of_what_is_behind():
    """A grey one, which has no contour of its own, up to a straight line."""
    subject = np.full((40, 40, 3), 90, np.uint8)
    behind = np.full((40, 40, 3), 10, np.uint8)
    behind[:, :20] = 30
    for direction, shown in ((0.0, np.s_[21:]), (0.5, np.s_[:19])):
        image = augmentation.stand_before(subject, behind, direction, 0.5)
        assert (image[shown] == behind[shown][:, ::-1]).all()
        assert (image == 90).mean() > 0.45
    share = [
        (augmentation.stand_before(subject, behind, 0.1, v) == 90).mean()
        for v in (0.5, 0.7, 0.9)
    ]
    assert share[0] > share[1] > share[2] > 0


def test_a_thing_recedes_out_of_focus_towards_one_side():
    sharp = np.full((40, 40, 3), 90, np.uint8)
    soft = np.full((40, 40, 3), 10, np.uint8)
    image = augmentation.recede(sharp, soft, 0.0, 0.5)
    assert (image[:8] == 90).all() and (image[-8:] == 10).all()
    assert (np.diff(np.int32(image[:, 0, 0])) <= 0).all()
    assert len(np.unique(image)) > 8


def test_haze_is_linear_and_ends_at_the_airlight():
    image = np.uint8(np.arange(48).reshape(4, 4, 3) * 5)
    assert (augmentation.haze(image, 0.0, 0.5, (1.0, 1.0)) == image).all()
    assert (augmentation.haze(image, 0.0, 0.6, (0.0, 1.0)) == 204).all()
    half = augmentation.haze(image, 0.5, 1.0, (0.0, 1.0))
    assert np.abs(half - (image / 2 + 127.5)).max() <= 0.5


def test_out_of_focus_a_lamp_is_a_disc():
    image = np.zeros((64, 64, 3), np.uint8)
    image[30:33, 30:33] = 255
    soft = augmentation.unfocus(image, 1.0, (2.0, 5.0)).astype(int)  # a radius of 10
    y, x = np.mgrid[:64, :64] - 31
    away = np.hypot(y, x)
    inside, outside = soft[away < 8], soft[away > 12.5]
    assert inside.min() > 60 and np.ptp(inside) <= 2 and outside.max() == 0
    even = np.full((64, 64, 3), 90, np.uint8)
    assert abs(augmentation.unfocus(even, 0.5, (1.0, 8.0)).astype(int) - 90).max() <= 1


def test_what_is_bright_glows():
    image = np.full((64, 64, 3), 40, np.uint8)
    image[28:36, 28:36] = 255
    glowing = augmentation.glow(image, 0.2, 0.8).astype(int)
    near, far = glowing[32, 22], glowing[2, 2]
    assert (near > 60).all() and (far < near).all() and glowing[32, 32].min() > 200
    even = np.full((64, 64, 3), 90, np.uint8)
    assert abs(augmentation.glow(even, 0.5, 0.5).astype(int) - 90).max() <= 1


def test_mixture_draws_by_weight_and_by_index_alone(tmp_path, monkeypatch):
    def negative(key, clean, settings):
        return render.Example(1 - clean, clean, clean[..., :1] * 0 + 7)

    monkeypatch.setattr(render, "example", negative)
    write(tmp_path)
    config = tiny.get_config()
    config.data.dir = str(tmp_path)
    config.eval.num_images = 0
    config.data.mixture.pairs = 3.0
    config.data.mixture.rendered = 1.0
    crops = pipeline.crops(config, 0)
    batches = [next(crops) for _ in range(25)]
    share = np.mean([batch["rendered"] for batch in batches])
    assert 0.15 < share < 0.35
    again = next(pipeline.crops(config, 7))
    parts = [next(pipeline.crops(config, 7, i, 2)) for i in range(2)]
    for name in again:
        np.testing.assert_array_equal(batches[7][name], again[name])
        np.testing.assert_array_equal(
            np.concatenate([part[name] for part in parts]), again[name]
        )
    # On the device real pairs keep their rainy picture and get a mask by rule.
    images, rendered = batches[0]["images"] / 255, batches[0]["rendered"]
    assert 0 < rendered.sum() < len(rendered)
    batch = next(pipeline.batches(config, 0))
    assert batch.keys() == {"rainy", "clean", "mask"}
    rainy, clean, mask = (np.concatenate(batch[n]) for n in ("rainy", "clean", "mask"))
    np.testing.assert_allclose(clean, images[..., 3:], atol=1e-6)
    np.testing.assert_allclose(rainy[~rendered], images[~rendered, ..., :3], atol=1e-6)
    np.testing.assert_allclose(rainy[rendered], 1 - clean[rendered], atol=1e-6)
    assert (mask[rendered] == 7).all()
    by_rule = masks.mask(rainy[~rendered], clean[~rendered])
    np.testing.assert_array_equal(mask[~rendered], by_rule)


def test_a_source_that_does_not_exist():
    config = tiny.get_config()
    config.data.name = "rain"
    with pytest.raises(UserError, match="pairs, raindrop, raindrop_clarity, rendered"):
        pipeline.batches(config, 0)
    config = tiny.get_config()
    config.data.mask.rule = "median"
    with pytest.raises(UserError, match="max, mean, sum, per_channel"):
        pipeline.batches(config, 0)


def test_stems():
    names = ["0_rain.png", "x_y-GT.jpg", "rain.png", "a_rain_1.png", "im_clean.png"]
    stems = ["0", "x_y", "rain", "a_rain_1", "im"]
    assert [name_matching.stem(Path(name)) for name in names] == stems
