"""Sets with one thing wrong each, and the line it gives."""

import cv2
import numpy as np
import pytest
import tiny

from raindrop.data import check, photographs
from raindrop.data.pairs import Pair
from raindrop.media import pictures


def scene(number, top=0, left=0, height=72, width=96):
    paths, _ = photographs.split("bundled", 1)
    image = cv2.resize(pictures.read_image(paths[number]), None, fx=0.4, fy=0.4)
    return image[top : top + height, left : left + width]


def with_drops(image, seed=0):
    """Blurred in a few places."""
    blurred = cv2.GaussianBlur(image, (0, 0), 5)
    rng = np.random.default_rng(seed)
    mask = np.zeros(image.shape[:2], np.uint8)
    for y, x in rng.integers(0, 70, (6, 2)):
        cv2.circle(mask, (int(x), int(y)), 7, 1, -1)
    return np.where(mask[..., None] > 0, blurred, image)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-2, 4)])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_misalignment_is_measured_through_drops(number, shift):
    clean = scene(number, 10, 10)
    rainy = scene(number, 10 - shift[0], 10 - shift[1])
    found = check.misalignment(Pair("", with_drops(rainy, number), clean))
    assert found == pytest.approx(shift, abs=0.3)


def save(root, name, rainy, clean):
    pictures.write_image(root / "data" / f"{name}_rain.png", rainy)
    pictures.write_image(root / "gt" / f"{name}_clean.png", clean)


def test_every_problem_has_its_line(tmp_path):
    train, test = tmp_path / "train", tmp_path / "test"
    for number in range(3):
        clean = scene(number, 10, 10)
        save(train, f"good{number}", with_drops(clean), clean)
    moved = scene(3, 10, 10), scene(3, 10, 14)
    save(train, "moved", with_drops(moved[0]), moved[1])
    dark = scene(1, 10, 10)
    save(train, "dark", np.uint8(with_drops(dark) * 0.7), dark)
    save(train, "small", scene(0, height=14), scene(0, height=14))
    save(train, "odd", scene(0, height=60), scene(0, height=61))
    save(train, "broken", scene(0), scene(0))
    (train / "gt" / "broken_clean.png").write_text("text")
    pictures.write_image(train / "data" / "alone_rain.png", scene(0))
    same = scene(2, 10, 10)
    save(test, "leak", with_drops(same, 5), same)
    save(test, "new", *(scene(0, 80, 60),) * 2)
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(train)
    config.eval.dir = str(test)
    text, sheets = check.check(config, tmp_path / "out")
    lines = text.splitlines()

    def line(word):
        (found,) = (line for line in lines if word in line)
        return found

    assert line("pictures without a counterpart").startswith("pairs: 1 ")
    assert "alone_rain.png" in text
    assert "96 x 60" in line("odd")
    assert "no picture" in line("broken")
    assert "+4.0 pixels to the right" in line("moved:")
    assert "  good" not in text
    assert "of 255 in brightness" in line("dark:")
    assert line("smaller than the crop").endswith(": small")
    assert "pairs: 6 pairs" in lines
    assert line("pairs and eval: 1 pictures").endswith("leak (as good2)")
    assert [sheet.name for sheet in sheets] == ["check_pairs.png", "check_eval.png"]
    assert pictures.read_image(sheets[0]).shape == (6 * 160, 3 * 240 + 8, 3)
