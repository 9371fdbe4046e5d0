"""Held-out pairs come from scenes that are not trained on."""

import numpy as np
import pytest
import tiny

from raindrop.data import check, pipeline, scenes, sources
from raindrop.media import pictures


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)


def pane(seed):
    """Drops before a scene."""
    image = scene(seed // 100)
    rng = np.random.default_rng(seed)
    for y, x in rng.integers(0, 20, (3, 2)):
        image[y : y + 4, x : x + 4] = rng.integers(0, 256)
    return image


def config_for(folder):
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(folder)
    return config


def one_file(root, s, n):
    pictures.write_image(root / "in" / f"s{s}_{n}.png", pane(100 * s + n))
    pictures.write_image(root / "gt" / f"s{s}.png", scene(s))
    return f"s{s}_{n}"


def a_file_each(root, s, n):
    """As when the ground truth is taken anew before each pane: noise differs."""
    noise = np.random.default_rng(100 * s + n).integers(-3, 4, (24, 32, 3))
    clean = np.uint8(np.clip(scene(s) + noise, 0, 255))
    pictures.write_image(root / "data" / f"{s * 5 + n}.png", pane(100 * s + n))
    pictures.write_image(root / "gt" / f"{s * 5 + n}.png", clean)
    return str(s * 5 + n)


def folders(root, s, n):
    """A camera that moves: the ground truths of a scene look different."""
    pictures.write_image(root / "Drop" / f"{s:05}" / f"{n}.png", pane(100 * s + n))
    pictures.write_image(root / "Clear" / f"{s:05}" / f"{n}.png", scene(100 * s + n))
    return f"{s:05}/{n}"


@pytest.mark.parametrize("write", [one_file, a_file_each, folders])
def test_scenes_are_not_shared(tmp_path, write):
    scene_of = {write(tmp_path, s, n): s for s in range(6) for n in range(5)}
    config = config_for(tmp_path)
    source = sources.of(config, "pairs")
    pairs = source.open(config.data, "")
    truth = [scene_of[name] for name in pairs.names]
    split = source.split(pairs)
    assert len(split.held_out) == 3 and not split.shared
    held_out = {truth[i] for i in split.held_out}
    assert not held_out & {truth[i] for i in split.train}
    assert len(split.train) + len(split.held_out) + len(split.left_out) == 30
    assert len(split.train) == 30 - 5 * len(held_out)
    trained = sources.training(config, "pairs", 0).names
    assert sorted(trained) == sorted(pairs.names[i] for i in split.train)
    assert [p.name for p in pipeline.validation_pairs(config)] == [
        pairs.names[i] for i in split.held_out
    ]
    text, _ = check.check(config, tmp_path / "out")
    assert "look like one that is trained on" not in text
    assert "6 scenes; pairs held out: 3, left out of training" in text


def test_panes_before_one_scene_are_told(tmp_path, caplog):
    for n in range(20):
        a_file_each(tmp_path, 0, n)
    config = config_for(tmp_path)
    assert len(sources.training(config, "pairs", 0)) == 18
    assert "scenes that are trained on" in caplog.text
    text, _ = check.check(config, tmp_path / "out")
    assert "1 scene; pairs held out: 2, left out of training" in text
    assert "their score says nothing about new scenes" in text


def test_check_sees_what_folders_hide(tmp_path):
    """The same scene in two folders, of which one is held out."""
    for s in range(4):
        for n in range(5):
            pictures.write_image(tmp_path / "Drop" / str(s) / f"{n}.png", pane(n))
            pictures.write_image(tmp_path / "Clear" / str(s) / f"{n}.png", scene(0))
    text, _ = check.check(config_for(tmp_path), tmp_path / "out")
    assert "4 scenes" in text
    assert "held-out pairs that look like one that is trained on" in text


def test_labels_join_what_looks_alike():
    thumbnails = np.stack([scenes.thumbnail(scene(s)) for s in (1, 2, 1, 3, 2)])
    labels = scenes.group(thumbnails, 0.97)
    assert labels[0] == labels[2] and labels[1] == labels[4]
    assert len(set(labels)) == 3
    flat = np.full((2, *scenes.SHAPE), 7, np.uint8)  # tells nothing
    assert len(set(scenes.group(flat, 0.97))) == 2


def test_what_is_held_out_follows_from_the_names_alone():
    names = [str(i) for i in range(40)]
    first = scenes.split(names, range(40), 3)
    more = scenes.split([*names, "new", "newer"], range(42), 3)
    kept = {names[i] for i in first.held_out}
    assert len(kept) == 3
    assert len(kept & {[*names, "new", "newer"][i] for i in more.held_out}) >= 2
    assert scenes.split(names, range(40), 0).train == list(range(40))
    # Not more than half of the pairs is left out for their scenes.
    two = scenes.split(names, [0] * 25 + [1] * 15, 4)
    assert not two.shared and set(two.held_out) <= set(range(25, 40))
