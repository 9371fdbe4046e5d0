"""Published and common layouts, made up: every rainy picture finds its ground truth."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tiny

from raindrop.data import layouts, sources
from raindrop.errors import UserError
from raindrop.media import pictures

SETS = Path(__file__).parents[3] / "shared" / "reports" / "sets"


def picture(seed, height=24, width=32):
    """Smooth, as scenes are, so that its thumbnail is its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return coarse.repeat(height // 3, 0).repeat(width // 4, 1)


def write(root, *names):
    for name in names:
        pictures.write_image(root / name, picture(sum(name.encode())))


def found(root, **where):
    """{rainy: clean}, relative to `root`, and the files alone."""
    pairs, alone = layouts.find(root, **where)
    names = [pair.name for pair in pairs]
    assert len(set(names)) == len(names)
    inside = {
        pair.rainy.relative_to(root).as_posix(): pair.clean.relative_to(root).as_posix()
        for pair in pairs
    }
    return inside, [path.relative_to(root).as_posix() for path in alone]


# By layout, what each rainy picture's ground truth is.
LAYOUTS = {
    "Raindrop Clarity": {
        f"Drop/{s}/{n}.png": f"Clear/{s}/{n}.png" for s in "12" for n in "12"
    },
    "RainDS, synthetic": {
        f"{folder}/{pie}{words}-{n}.png": f"gt/{pie}norain-{n}.png"
        for folder, words in (
            ("raindrop", "rd"),
            ("rainstreak", "rain"),
            ("rainstreak_raindrop", "rd-rain"),
        )
        for pie in ("", "pie-")
        for n in (1, 10)
    },
    "RainDS, real": {
        f"{folder}/{n}.png": f"gt/{n}.png"
        for folder in ("raindrop", "rainstreak")
        for n in (1, 2)
    },
    "AllWeather": {f"input/im_{n}_s80.jpg": f"gt/im_{n}_s80.jpg" for n in (1, 2)},
    "Outdoor-Rain": {
        f"in/im_{n}_s{k}_a05.png": f"gt/im_{n}.png" for n in (1, 12) for k in (80, 81)
    },
    "RobotCar": {f"rainy/{n}.png": f"clear/{n}.png" for n in (1418, 1419)},
    "Rain1400": {
        f"rainy_image/{n}_{k}.jpg": f"ground_truth/{n}.jpg"
        for n in (1, 11)
        for k in (1, 2)
    },
    "SPA-Data": {
        f"real_world/{n}.png": f"real_world_gt/{n}gt.png" for n in ("a1", "2")
    },
    "one folder, by the beginning": {
        f"rain-{n:03}.png": f"norain-{n:03}.png" for n in (1, 2)
    },
    "one folder, by the end": {f"a{n}_rain.png": f"a{n}_clean.png" for n in (1, 2)},
    "one folder, one side bare": {f"{n}.png": f"{n}_gt.png" for n in (1, 2)},
    "one folder, several kinds": {f"{k}-1.png": "norain-1.png" for k in ("rd", "rs")},
    "scenes with both sides": {
        f"{s}/rainy/{n}.png": f"{s}/clean/{n}.png" for s in "abc" for n in "12"
    },
    "one ground truth a scene": {
        f"rainy/{s}/{n}.png": f"clean/{s}/scene.png" for s in "abc" for n in ("x", "y")
    },
    "inside another folder": {f"set/Drop/{n}.png": f"set/Clear/{n}.png" for n in "12"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_taken_as_it_is(tmp_path, layout):
    truths = LAYOUTS[layout]
    write(tmp_path, *truths, *set(truths.values()))
    assert found(tmp_path) == (truths, [])


def test_what_is_neither_side_is_left_aside_and_said(tmp_path, caplog):
    names = [f"{side}/1/{n}.png" for side in ("Drop", "Blur", "Clear") for n in "12"]
    write(tmp_path, *names, "Drop/1/3.png", "Clear/2/1.png")
    with caplog.at_level(logging.INFO, "raindrop"):
        pairs, alone = found(tmp_path)
    assert pairs == {f"Drop/1/{n}.png": f"Clear/1/{n}.png" for n in "12"}
    assert alone == ["Drop/1/3.png", "Clear/2/1.png"]
    assert "Drop/ rainy, Clear/ clean" in caplog.text
    assert "Blur/ is left aside (2 pictures)" in caplog.text


def test_folders_are_chosen_inside_the_set(tmp_path):
    write(tmp_path, "raindrop/1.png", "rainstreak/1.png", "gt/1.png")
    expected = {"rainstreak/1.png": "gt/1.png"}
    assert found(tmp_path, rainy="rainstreak", clean="gt") == (expected, [])


@pytest.mark.parametrize("rainy", ["", "left", "right"])
def test_side_by_side(tmp_path, rainy, caplog):
    """The left half is the rainy one where nothing else is said."""
    clean = picture(1)
    wet = clean.copy()
    wet[4:9, 4:9] = 128
    halves = (clean, wet) if rainy == "right" else (wet, clean)
    pictures.write_image(tmp_path / "7.png", np.concatenate(halves, 1))
    where = {"rainy": rainy, "clean": "left" if rainy == "right" else "right"}
    with caplog.at_level(logging.INFO, "raindrop"):
        usable = layouts.find_usable(tmp_path, **(where if rainy else {}))
    assert usable.sizes == [clean.shape[:2]]
    pair = usable.files[0].read()
    np.testing.assert_array_equal(pair.rainy, wet)
    np.testing.assert_array_equal(pair.clean, clean)
    assert f"the {rainy or 'left'} half is taken for the rainy one" in caplog.text
    pictures.write_image(tmp_path / "8.png", picture(2)[:, :31])
    with pytest.raises(UserError, match=r"8\.png is 31 pixels wide"):
        layouts.find_usable(tmp_path, rainy="left", clean="right")


def test_what_cannot_be_matched_is_said(tmp_path):
    write(tmp_path / "photos", "a.png", "b.png")
    with pytest.raises(
        UserError, match=r"holds none of data/ and gt/.*two alike halves"
    ):
        layouts.find(tmp_path / "photos")
    write(tmp_path / "names", "rainy/frame_7.png", "clean/bild_7.png", "clean/x.png")
    with pytest.raises(UserError, match=r"nearest to frame_7\.png is bild_7\.png"):
        layouts.find(tmp_path / "names")
    write(
        tmp_path / "sets",
        *(f"{s}/{d}/1.png" for s in ("train", "test") for d in ("in", "gt")),
    )
    with pytest.raises(UserError, match=r"set data\.dir to one: test or train"):
        layouts.find(tmp_path / "sets")
    write(tmp_path / "two", "rainy/1.png", "gt/1.png", "clean/1.png")
    with pytest.raises(UserError, match=r"several folders of clean .*clean and gt"):
        layouts.find(tmp_path / "two")


def test_a_folder_that_matches_nothing_is_said(tmp_path, caplog):
    write(tmp_path, "raindrop/1.png", "streaks/x.png", "gt/1.png")
    assert found(tmp_path) == ({"raindrop/1.png": "gt/1.png"}, ["streaks/x.png"])
    assert "no picture in" in caplog.text and "streaks" in caplog.text


def test_links_and_files_without_an_ending_are_taken(tmp_path, caplog):
    write(tmp_path / "store", "7.png", "8.png")
    write(tmp_path / "set", "gt/scene/7.png", "gt/scene/8.png", "data/x.png")
    (tmp_path / "set/data/x.png").unlink()
    (tmp_path / "set/data/scene").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "8.png").rename(tmp_path / "store" / "8")
    (tmp_path / "set/data/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set/data/back").symlink_to(tmp_path / "set")
    expected = {"data/scene/7.png": "gt/scene/7.png", "data/scene/8": "gt/scene/8.png"}
    assert found(tmp_path / "set") == (expected, [])
    assert "leads nowhere" in caplog.text
    assert "link back" in caplog.text


def test_a_number_is_not_the_beginning_of_another(tmp_path):
    write(tmp_path, "in/1_a.png", "in/12_a.png", "gt/1.png")
    assert found(tmp_path) == ({"in/1_a.png": "gt/1.png"}, ["in/12_a.png"])


@pytest.mark.skipif(not SETS.exists(), reason="needs ../shared/reports/sets")
@pytest.mark.parametrize(
    ("name", "count"),
    [("clarity", 9), ("rainds", 9), ("outdoor_rain", 9), ("one_folder", 3)],
)
def test_sample_sets_are_trained_on(name, count):
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(SETS / name)
    config.eval.num_images = 0
    cache = sources.training(config, "pairs", 0)
    assert len(cache) == count
    assert all(cache(i).shape == (48, 64, 6) for i in range(count))
