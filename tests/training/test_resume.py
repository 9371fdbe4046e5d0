"""What may change where a run goes on, what it writes of itself, and when nothing."""

import json

import numpy as np
import pytest
import tiny

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.training import loop, resume
from raindrop.weights import LoadedGenerator, checkpoints, safetensors_file


def saved(step, config, **notes):
    meta = {"config": json.loads(config.to_json_best_effort()), "notes": notes}
    where = checkpoints.Path("/runs/a/checkpoints") / str(step)
    return checkpoints.Saved(step, {}, meta, where)


def changed(**fields):
    config = tiny.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in fields.items()}
        )
    return config


def test_what_trains_nothing_may_change():
    before = saved(2, tiny.get_config())
    config = changed(
        training__num_steps=9,
        training__log_every=7,
        data__cache_gib=1.0,
        eval__lpips=True,
        model__fast_gradients=False,
        model__generator__attention__remat=True,
    )
    assert resume.check(before, config) == {}
    assert resume.check(before, tiny.get_config()) == {}
    # A config from before a field came about.
    del before.meta["config"]["training"]["precision"]
    del before.meta["config"]["model"]["generator"]["attention"]["remat"]
    assert resume.check(before, tiny.get_config()) == {}


def test_the_networks_and_the_start_may_not():
    before = saved(2, tiny.get_config())
    config = changed(
        model__generator__attention__channels=5,
        model__generator__signed=True,  # no shape tells it
        training__weights="lite",
        training__num_steps=9,
        training__allow_changes=True,
    )
    with pytest.raises(UserError) as error:
        resume.check(before, config)
    assert "model.generator.attention.channels=5, was 4" in str(error.value)
    assert "model.generator.signed=True, was False" in str(error.value)
    assert "training.weights=lite, was " in str(error.value)
    assert "num_steps" not in str(error.value)


def test_the_experiment_may_if_it_is_said(caplog):
    before = saved(2, tiny.get_config())
    fields = {"optimizer__learning_rate": 0.5, "loss__multiscale": (1.0, 1.0, 1.0)}
    with pytest.raises(UserError, match="allow_changes=true") as error:
        resume.check(before, changed(**fields))
    assert "optimizer.learning_rate=0.5, was 0.0002" in str(error.value)
    assert "\n" not in str(error.value)
    found = resume.check(before, changed(training__allow_changes=True, **fields))
    assert found.keys() == {"optimizer.learning_rate", "loss.multiscale"}
    assert "from step 2 on: " in caplog.text


def test_a_finished_run_is_not_trained_with_other_values():
    before = saved(4, tiny.get_config())
    fields = {"optimizer__learning_rate": 0.5, "training__allow_changes": True}
    with pytest.raises(UserError, match=r"finished.*0\.5.*another --workdir"):
        resume.check(before, changed(**fields))
    assert resume.check(before, changed(training__num_steps=5, **fields))
    with pytest.raises(UserError, match="done 4 steps already"):
        resume.check(before, changed(training__num_steps=3))


def test_vggs_weights_are_told_by_their_contents():
    vgg = {"source": "ImageNet, /a/vgg.h5", "sha256": "1"}
    before = saved(2, tiny.get_config(), vgg=vgg)
    assert resume.check_vgg(before, vgg | {"source": "/b/vgg.h5"}, False) == {}
    other = {"source": "random", "sha256": ""}
    with pytest.raises(UserError, match="random, was ImageNet"):
        resume.check_vgg(before, other, False)
    assert resume.check_vgg(before, other, True)
    assert resume.check_vgg(saved(2, tiny.get_config(), vgg=other), other, False) == {}
    # Once there was only a text.
    assert resume.check_vgg(saved(2, tiny.get_config(), vgg="x"), vgg, False) == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pairs, and weights to start from."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for i in range(4):
        clean = rng.integers(0, 256, (24, 24, 3), np.uint8)
        rainy = np.uint8(clean // 2)
        pictures.write_image(folder / "pairs" / "gt" / f"{i}.png", clean)
        pictures.write_image(folder / "pairs" / "data" / f"{i}.png", rainy)
    return folder


def config_of(folder):
    config = tiny.get_config()
    config.data.dir = str(folder / "pairs")
    config.data.mixture.rendered, config.data.mixture.pairs = 1.0, 3.0
    config.loss.perceptual = config.loss.adversarial = 0.0
    config.training.num_steps = 1
    config.eval.num_images = 1
    return config


def snapshot(workdir):
    return {
        str(path): path.read_bytes() for path in workdir.rglob("*") if path.is_file()
    }


def test_a_run_that_starts_from_weights_and_is_called_again(folder):
    config, workdir = config_of(folder), folder / "run"
    networks, *_ = loop.make_networks(config)
    state, _ = loop.make_state(config, networks)
    weights = folder / "start.safetensors"
    fields = config.model.generator.to_dict()
    loaded = LoadedGenerator(fields, state.ema, "made up")
    safetensors_file.write(loaded, weights, "float32")
    config.training.weights = str(weights)
    loop.train_and_evaluate(config, workdir)

    # What it starts from is evaluated, and every source of the mixture by itself.
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    record, *rows = lines
    assert record["run"]["weights"]["source"].startswith("made up")
    shares = {data["name"]: data["share"] for data in record["run"]["data"]}
    assert shares == {"rendered": 0.25, "pairs": 0.75}
    starts = {name for row in rows if row["step"] == 0 for name in row}
    for name in ("eval/psnr_release", "eval/pairs/ssim_rgb_input"):
        assert name in starts
    assert "eval/rendered/psnr_release" in starts
    first = json.loads((workdir / "evaluation.json").read_text())["provenance"]
    assert first["evaluated_on"]["name"] == "pairs"
    assert first["evaluated_on"]["pairs"] == 1
    assert first["start"]["sha256"] == record["run"]["weights"]["sha256"] != ""
    other = json.loads(
        (workdir / "evaluation" / "rendered" / "evaluation.json").read_text()
    )
    assert other["provenance"]["evaluated_on"]["photos"] == "bundled"
    meta = checkpoints.read_meta(workdir, 1)
    assert meta["notes"]["weights"] == record["run"]["weights"]
    assert first["weights"]["sha256"] == meta["digests"]["ema"]
    assert {"raindrop", "jax"} < meta["versions"].keys()

    # Called again it writes nothing; with another value it is refused.
    before = snapshot(workdir)
    loop.train_and_evaluate(config, workdir)
    assert snapshot(workdir) == before
    config.optimizer.learning_rate = 0.5
    with pytest.raises(UserError, match="finished"):
        loop.train_and_evaluate(config, workdir)
    assert snapshot(workdir) == before

    # More steps with another value, and it says so from there on.
    config.training.num_steps, config.training.allow_changes = 2, True
    loop.train_and_evaluate(config, workdir)
    (change,) = checkpoints.read_meta(workdir, 2)["notes"]["changes"]
    assert change["step"] == 1
    assert change["optimizer.learning_rate"] == "0.5, was 0.0002"
    stored = json.loads((workdir / "config.json").read_text())
    assert stored["optimizer"]["learning_rate"] == 0.5
