"""A made-up Raindrop Clarity, from zips and from folders."""

import zipfile

import fake_set
import numpy as np
import pytest
import tiny

from raindrop.data import check, pipeline, raindrop_clarity, sources
from raindrop.errors import UserError
from raindrop.media import pictures

STEMS = {name: files.stem for name, files in raindrop_clarity.Builder.splits.items()}
SCENES = 4


def write_set(root, names):
    """SPLIT/{Drop,Blur,Clear}/SCENE/NUMBER.png, three pictures a scene."""
    pairs = fake_set.rendered_pairs(14)
    for split, name in enumerate(names):
        for s in range(SCENES):
            rainy, clean = pairs[split * SCENES + s]
            for n in (1, 2, 3):
                for side, image in (
                    ("Drop", np.roll(rainy, n, 1)),
                    ("Blur", clean // 2),
                    ("Clear", clean),
                ):
                    path = root / STEMS[name] / side / f"{s:05}" / f"{n:05}.png"
                    pictures.write_image(path, image)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("clarity")
    folders, zips = root / "folders", root / "zips"
    write_set(folders, ["day_train", "night_train", "night_test"])
    zips.mkdir()
    for split in sorted(folders.iterdir()):
        with zipfile.ZipFile(zips / f"{split.name}.zip", "w") as archive:
            for path in sorted(split.rglob("*.png")):
                archive.write(path, path.relative_to(folders))
    return {"folders": folders, "zips": zips}


def config_for(folder):
    config = tiny.get_config()
    config.data.name, config.data.dir = "raindrop_clarity", str(folder)
    return config


@pytest.mark.parametrize("kind", ["folders", "zips"])
def test_pairs_are_drop_and_clear(sets, kind):
    pairs = raindrop_clarity.Builder.open_split(sets[kind], "night_train")
    assert list(pairs.names) == [f"{s:05}/{n:05}" for s in range(4) for n in (1, 2, 3)]
    root = sets["folders"] / STEMS["night_train"]
    for pair in pairs:
        for image, side in ((pair.rainy, "Drop"), (pair.clean, "Clear")):
            expected = pictures.read_image(root / side / f"{pair.name}.png")
            np.testing.assert_array_equal(image, expected)


def test_day_and_night_are_trained_on_by_scene(sets, tmp_path):
    config = config_for(sets["zips"])
    trained = sources.training(config, "raindrop_clarity", 0).names
    held_out = [pair.name for pair in pipeline.validation_pairs(config)]
    assert len(held_out) == 2
    scenes = {name.rpartition("/")[0] for name in held_out}
    assert not scenes & {name.rpartition("/")[0] for name in trained}
    assert len(trained) == 24 - 3 * len(scenes)
    assert {name.split("/")[0] for name in trained} == {"day_train", "night_train"}
    # Day and night of the test are one set; of which only one is there.
    assert len(list(pipeline.evaluation_pairs(config))) == 12
    text, _ = check.check(config, tmp_path)
    assert "raindrop_clarity/train: 24 pairs" in text
    assert "raindrop_clarity/night_test: 12 pairs" in text
    assert "8 scenes; pairs held out: 2" in text


def test_a_part_that_is_trained_on_is_no_validation_set(sets):
    config = config_for(sets["folders"])
    config.eval.name, config.eval.split = "raindrop_clarity", "day_train"
    assert len(list(pipeline.validation_pairs(config))) == 2  # those held out
    config.eval.split = "night_test"
    assert len(list(pipeline.validation_pairs(config))) == 12
    config.eval.split = "test_a"
    with pytest.raises(UserError, match=r"eval\.split must be one of train, test, day"):
        pipeline.evaluation_pairs(config)


def test_a_damaged_pair_is_left_out_and_named(tmp_path):
    write_set(tmp_path, ["day_test"])
    path = tmp_path / STEMS["day_test"] / "Clear" / "00001" / "00002.png"
    path.write_bytes(path.read_bytes()[:100])
    config = config_for(tmp_path)
    with pytest.raises(UserError, match=r"00001/00002\.png.* cannot be decoded"):
        pipeline.evaluation_pairs(config)
    config.data.on_error = "skip"
    for _ in range(2):  # prepared at the first time, and read again
        readable = pipeline.evaluation_pairs(config)
        assert len(list(readable)) == 11
        assert "00001/00002.png" in readable.failed[0]
    config.data.on_error = "raise"
    with pytest.raises(UserError, match=r"00001/00002\.png"):
        pipeline.evaluation_pairs(config)


def test_missing_sets_and_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"RaindropClarity: put DayRainDrop_Train\.zip"):
        sources.training(config_for(tmp_path), "raindrop_clarity", 0)
    pictures.write_image(
        tmp_path / STEMS["day_train"] / "Drop/1/1.png", np.zeros((9, 9, 3), np.uint8)
    )
    with pytest.raises(UserError, match="holds no folder Clear"):
        sources.training(config_for(tmp_path), "raindrop_clarity", 0)
