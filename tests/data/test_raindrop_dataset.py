"""A fake Raindrop data set, from zips and from folders, through everything."""

import json
import zipfile

import fake_set
import jax
import numpy as np
import pytest
import tiny

from raindrop.data import pipeline, raindrop_dataset
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.media import pictures
from raindrop.restoration.derainer import Derainer
from raindrop.training import loop
from raindrop.weights import generators

SPLITS = {"train": 11, "test_a": 2, "test_b": 1}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    folders = fake_set.write_folders(root / "folders", SPLITS)
    return {"folders": folders, "zips": fake_set.zip_folders(folders, root / "zips")}


def config_for(folder):
    config = tiny.get_config()
    config.data.name = "raindrop"
    config.data.dir = str(folder)
    config.eval.num_images = 1
    return config


@pytest.mark.parametrize("kind", ["zips", "folders"])
def test_builder_gives_the_files(sets, kind):
    for split, count in SPLITS.items():
        pair_set = raindrop_dataset.Builder.open_split(sets[kind], split)
        assert pair_set.names == [str(n) for n in range(count)]  # 10 after 9
        for pair in pair_set:
            files = sets["folders"] / split
            suffix = "jpg" if split == "test_b" else "png"
            rainy = files / "data" / f"{pair.name}_rain.{suffix}"
            clean = files / "gt" / f"{pair.name}_clean.{suffix}"
            np.testing.assert_array_equal(pair.rainy, pictures.read_image(rainy))
            np.testing.assert_array_equal(pair.clean, pictures.read_image(clean))
    with pytest.raises(UserError, match=r"eval\.split must be one of train, test_a"):
        raindrop_dataset.Builder.open_split(sets[kind], "test_c")


def test_trains_and_evaluates_from_zips(sets, tmp_path):
    config = config_for(sets["zips"])
    config.training.num_steps = 1
    config.loss.perceptual = 0.0
    state = loop.train_and_evaluate(config, tmp_path)
    assert int(state.step) == 1
    held_out = json.loads((tmp_path / "evaluation.json").read_text())["images"]
    assert len(held_out) == 1
    derainer = Derainer(generators.load_generator(tmp_path))
    result, written = evaluate.evaluate_to_folder(
        derainer.run, pipeline.evaluation_pairs(config), tmp_path / "out", config.eval
    )
    assert [row["name"] for row in result["images"]] == ["0", "1"]  # test_a
    assert all(path.exists() for path in written)


def test_zips_and_folders_give_the_same_batches(sets):
    batches = [next(pipeline.batches(config_for(s), 3)) for s in sets.values()]
    jax.tree.map(np.testing.assert_array_equal, *batches)


def test_held_out_pairs_are_not_trained_on(sets):
    config = config_for(sets["zips"])
    (held_out,) = pipeline.validation_pairs(config)
    config.data.crop_size = fake_set.HEIGHT
    crops = pipeline.crops(config, 0)
    seen = {image.tobytes() for _ in range(8) for image in next(crops)["images"]}
    width = fake_set.WIDTH - fake_set.HEIGHT + 1
    both = np.concatenate([held_out.rainy, held_out.clean], -1)
    for left in range(width):
        window = both[:, left : left + fake_set.HEIGHT]
        assert window.tobytes() not in seen
        assert np.ascontiguousarray(window[:, ::-1]).tobytes() not in seen


def test_pairs_of_one_scene_are_known(tmp_path):
    """Where the ground truth of two is the same picture."""
    folder = fake_set.write_folders(tmp_path, {"train": 4})
    gt = folder / "train" / "gt"
    (gt / "3_clean.png").write_bytes((gt / "1_clean.png").read_bytes())
    for _ in range(2):  # prepared, and read again
        pairs = raindrop_dataset.Builder.open_split(folder, "train", same_scene=0.97)
        labels = pairs.labels()
        assert labels[1] == labels[3]
        assert len(set(labels)) == 3


def test_new_files_are_prepared_anew(sets, tmp_path):
    folder = fake_set.write_folders(tmp_path / "set", {"train": 1})
    assert len(raindrop_dataset.Builder.open_split(folder, "train")) == 1
    with pytest.raises(UserError, match=r"no test_a in .*put train\.zip"):
        raindrop_dataset.Builder.open_split(folder, "test_a")
    fake_set.write_folders(folder, {"test_a": 1})
    assert len(raindrop_dataset.Builder.open_split(folder, "test_a")) == 1


def test_missing_data_set_names_the_page_and_the_files(tmp_path):
    for folder in ("", tmp_path):
        config = config_for(folder)
        with pytest.raises(UserError) as error:
            pipeline.batches(config, 0)
        for word in (
            raindrop_dataset.Builder.page,
            "train.zip",
            "test_a.zip",
            "test_b.zip",
        ):
            assert word in str(error.value)


@pytest.mark.parametrize(
    "member", ["../out.png", "train/data/../../0_rain.png", "/0.png"]
)
def test_zip_that_climbs_out_is_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr(member, b"")
    with pytest.raises(UserError, match="names a file outside itself"):
        raindrop_dataset.Builder.open_split(tmp_path, "train")
    assert not (tmp_path.parent / "out.png").exists()


def test_broken_zips_and_files_are_named(sets, tmp_path):
    (tmp_path / "train.zip").write_text("<html>quota exceeded</html>")
    with pytest.raises(UserError, match=r"train\.zip is no whole zip file"):
        raindrop_dataset.Builder.open_split(tmp_path, "train")
    data = bytearray((sets["zips"] / "train.zip").read_bytes())
    data[500] ^= 255
    (tmp_path / "train.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"train\.zip is no whole zip file"):
        raindrop_dataset.Builder.open_split(tmp_path, "train")
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("train/data/0_rain.png", b"text")
        archive.writestr("train/gt/0_clean.png", b"text")
    with pytest.raises(UserError, match=r"0_rain\.png is no picture"):
        raindrop_dataset.Builder.open_split(tmp_path, "train")
