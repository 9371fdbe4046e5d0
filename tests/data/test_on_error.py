"""One bad picture, or an odd name, does not lose an evaluation or a rendering."""

import json
import os
import sys

import jax
import numpy as np
import pytest
import tiny

from raindrop import cli
from raindrop.data import check, pipeline, rendered_pairs
from raindrop.data.rendered_pairs import render_folder
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.media import pictures
from raindrop.training import loop


def write_set(root, names="abcd"):
    rng = np.random.default_rng(0)
    for name in names:
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        clean = coarse.repeat(8, 0).repeat(8, 1)
        pictures.write_image(root / "data" / f"{name}.jpg", clean // 2)
        pictures.write_image(root / "gt" / f"{name}.jpg", clean)


def cut(path):
    path.write_bytes(path.read_bytes()[:-120])


def config_for(root, on_error):
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(root)
    config.data.on_error = on_error
    return config


def double(image):
    maps = np.zeros((1, *image.shape[:2], 1), np.float32)
    return np.float32(np.minimum(image / 127.5, 1)), maps


def evaluate_set(config, folder):
    return evaluate.evaluate_to_folder(
        double, pipeline.evaluation_pairs(config), folder, config.eval
    )


def damage_body(root):
    cut(root / "data" / "c.jpg")


def damage_header(root):
    (root / "gt" / "c.jpg").write_text("text")


def too_small_to_score(root):
    for side in ("data", "gt"):
        image = np.zeros((5, 5, 3), np.uint8)
        pictures.write_image(root / side / "c.jpg", image)


@pytest.mark.parametrize("damage", [damage_body, damage_header, too_small_to_score])
def test_evaluation_leaves_out_what_cannot_be_read(tmp_path, damage, caplog):
    write_set(tmp_path)
    damage(tmp_path)
    result, _ = evaluate_set(config_for(tmp_path, "skip"), tmp_path / "out")
    assert [row["name"] for row in result["images"]] == ["a", "b", "d"]
    (line,) = result["left_out"]
    assert "c" in line
    assert len([r for r in caplog.records if "left out" in r.message]) == 1
    assert "mean over 3 images; 1 left out" in evaluate.table(result)
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["left_out"] == result["left_out"]


def test_evaluation_that_ends_has_written_what_is_done(tmp_path):
    write_set(tmp_path)
    damage_body(tmp_path)
    config = config_for(tmp_path, "raise")
    with pytest.raises(UserError, match=r"c\.jpg.*on_error=skip.*scores of the 2 be"):
        evaluate_set(config, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["name"] for row in stored["images"]] == ["a", "b"]
    assert "c.jpg" in stored["ended"]
    assert "not all: ended at" in (tmp_path / "out" / "evaluation.html").read_text()
    damage_header(tmp_path)  # seen before anything is done
    with pytest.raises(UserError, match=r"c\.jpg is no picture.*on_error=skip"):
        evaluate_set(config, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_nothing_left_to_evaluate_on(tmp_path):
    write_set(tmp_path, "a")
    cut(tmp_path / "gt" / "a.jpg")
    config = config_for(tmp_path, "skip")
    with pytest.raises(UserError, match=r"no pairs to evaluate on .*a\.jpg"):
        evaluate_set(config, tmp_path / "out")
    config.eval.num_images = 0
    with pytest.raises(UserError, match="none of the pairs to evaluate on"):
        loop.train_and_evaluate(config, tmp_path / "run")


@pytest.fixture
def cheap_drops(monkeypatch):
    """Stands for the renderer: darker, by a number that the key gives."""

    def draw(key, clean, settings):
        return clean * jax.random.uniform(key), clean, clean[..., :1]

    monkeypatch.setattr(rendered_pairs, "_draw", draw)


@pytest.mark.usefixtures("cheap_drops")
def test_rendering_leaves_out_what_cannot_be_read(tmp_path):
    """The others are the same as without it."""
    write_set(tmp_path)
    photos, settings = tmp_path / "gt", tiny.get_config().data.rendering
    render_folder(photos, tmp_path / "whole", settings, copies=2)
    cut(photos / "b.jpg")
    made = render_folder(photos, tmp_path / "skip", settings, copies=2, skip=True)
    assert made.pairs == 6 and "b.jpg" in made.failed[0]
    assert made.sheet.exists()
    with pytest.raises(UserError, match=r"b\.jpg.*on_error=skip.*the 2 pairs before"):
        render_folder(photos, tmp_path / "raise", settings, copies=2)
    for folder, numbers in (("skip", [0, 1, 4, 5, 6, 7]), ("raise", [0, 1])):
        lines = (tmp_path / folder / "sources.txt").read_text().splitlines()
        assert [int(line.split("\t")[0]) for line in lines] == numbers
        for n in numbers:
            name = f"data/{n}_rain.png"
            one, other = (tmp_path / f / name for f in ("whole", folder))
            assert one.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("cheap_drops")
def test_exit_codes(tmp_path, capsys):
    write_set(tmp_path)
    cut(tmp_path / "gt" / "b.jpg")
    for on_error, code in (("skip", 1), ("raise", 2)):
        out = tmp_path / on_error
        arguments = [f"--input={tmp_path / 'gt'}", f"--output={out}"]
        arguments += [f"--config.data.on_error={on_error}"]
        assert cli.main(["render", *arguments]) == code
        assert (out / "data" / "0_rain.png").exists()
        told = capsys.readouterr()
        assert "b.jpg" in told.err


@pytest.mark.usefixtures("cheap_drops")
@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_that_are_no_utf_8(tmp_path, capsys):
    """Each kind of output can be written and printed."""
    write_set(tmp_path)
    name = os.fsdecode(b"caf\xe9")
    try:
        for side in ("data", "gt"):
            (tmp_path / side / "d.jpg").rename(tmp_path / side / f"{name}.jpg")
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    write_set(tmp_path, "e")
    cut(tmp_path / "data" / "e.jpg")
    config = config_for(tmp_path, "skip")
    result, _ = evaluate_set(config, tmp_path / "out")
    assert result["images"][-1]["name"] == r"caf\xe9"
    assert (tmp_path / "out" / "evaluation" / f"{name}.png").exists()
    for file in ("evaluation.csv", "evaluation.json", "evaluation.html"):
        text = (tmp_path / "out" / file).read_text(encoding="utf-8")
        assert "caf" in text
    settings = config.data.rendering
    render_folder(tmp_path / "gt", tmp_path / "rendered", settings)
    listed = (tmp_path / "rendered" / "sources.txt").read_bytes()
    assert os.fsencode(tmp_path / "gt" / f"{name}.jpg") in listed
    (tmp_path / "gt" / f"{name}.jpg").write_text("text")
    text, _ = check.check(config, tmp_path / "out")
    assert r"caf\xe9.jpg is no picture" in text
    text.encode("utf-8")
    next(pipeline.crops(config, 0))
