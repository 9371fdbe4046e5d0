"""The loop and its step, at a few channels."""

import copy
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from raindrop.training import loop
from raindrop.training.losses import Objective
from raindrop.training.step import train_step
from raindrop.weights import checkpoints

ROOT = Path(__file__).parents[2]


def run_main(*arguments):
    return subprocess.run(
        [sys.executable, "main.py", *map(str, arguments)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def parts():
    config = tiny.get_config()
    networks, vgg_params, _ = loop.make_networks(config)
    state, schedules = loop.make_state(config, networks)
    rng = np.random.default_rng(0)
    shape = (8, 16, 16)
    batch = {
        "rainy": rng.uniform(size=(*shape, 3)).astype("float32"),
        "clean": rng.uniform(size=(*shape, 3)).astype("float32"),
        "mask": rng.integers(0, 2, (*shape, 1)).astype("float32"),
    }
    return config, networks, vgg_params, state, schedules, batch


def test_eight_devices_do_what_one_does(parts):
    """8 x B/8 equals 1 x B: both networks, the average, every metric."""
    config, networks, vgg_params, state, schedules, batch = parts
    one = jax.jit(
        partial(
            train_step,
            networks=networks,
            objective=Objective(**config.loss),
            schedules=schedules,
            ema_decay=config.training.ema_decay,
        )
    )
    eight = loop.make_step(config, networks, schedules)
    shards = jax.tree.map(lambda x: x.reshape(8, 1, *x.shape[1:]), batch)
    a, b = state, loop.replicate(copy.deepcopy(state))
    for _ in range(2):
        a, a_metrics = one(a, vgg_params, batch)
        b, b_metrics = eight(b, loop.replicate(vgg_params), shards)
    assert a_metrics.keys() == b_metrics.keys()
    assert {"g_attention", "g_multiscale", "g_perceptual", "g_adversarial"} < set(
        a_metrics
    )
    assert {"d_real", "d_fake", "d_map", "d_gradient_norm"} < set(a_metrics)
    for name in a_metrics:
        np.testing.assert_allclose(
            a_metrics[name], b_metrics[name], rtol=1e-4, atol=1e-6, err_msg=name
        )
    a, b = jax.tree.leaves((a, a.ema)), jax.tree.leaves((b, b.ema))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=2e-6)


def test_each_network_learns_from_its_own_loss_alone(parts):
    """The discriminator's update leaves the generator's gradient out, and reversed."""
    config, networks, vgg_params, state, schedules, batch = parts
    step = partial(
        train_step,
        networks=networks,
        schedules=schedules,
        ema_decay=0.5,
    )
    alone = {**config.loss, "adversarial": 0.0}
    new, metrics = jax.jit(partial(step, objective=Objective(**alone)))(
        state, vgg_params, batch
    )
    assert not any(name.startswith("d_") for name in metrics)
    for x, y in zip(
        jax.tree.leaves(new.discriminator),
        jax.tree.leaves(state.discriminator),
        strict=True,
    ):
        np.testing.assert_array_equal(x, y)
    # The average moves half-way to the new parameters.
    for ema, x, y in zip(
        jax.tree.leaves(new.ema),
        jax.tree.leaves(new.generator.params),
        jax.tree.leaves(state.generator.params),
        strict=True,
    ):
        np.testing.assert_allclose(ema, (x + y) / 2, atol=1e-6)


def test_loss_falls_on_one_batch(parts):
    config, networks, vgg_params, state, schedules, batch = parts
    step = loop.make_step(config, networks, schedules)
    state, vgg_params = loop.replicate((copy.deepcopy(state), vgg_params))
    shards = jax.tree.map(lambda x: x.reshape(8, 1, *x.shape[1:]), batch)
    totals = []
    for _ in range(60):
        state, metrics = step(state, vgg_params, shards)
        totals.append(float(metrics["g_attention"] + metrics["g_multiscale"]))
    assert totals[-1] < 0.7 * totals[0]


def test_a_run_is_evaluated(tmp_path):
    """With every loss; that runs resume bit for bit is for test_faults.py."""
    workdir = tmp_path / "run"
    done = run_main(
        "--config=tests/tiny.py",
        "--config.training.num_steps=2",
        "--config.training.batch_size=2",
        f"--workdir={workdir}",
    )
    assert done.returncode == 0, done.stderr
    assert checkpoints.steps(workdir) == [2]
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    start, _, row, evaluation = map(json.loads, lines)
    assert start["run"]["vgg"]["source"].startswith("random")
    assert row["step"] == evaluation["step"] == 2
    assert evaluation["wall_time"] >= row["wall_time"] > start["wall_time"]
    names = {"g_perceptual", "g_adversarial", "d_map", "images_per_second"}
    assert {f"train/{name}" for name in names} < row.keys()
    assert {"eval/psnr_release", "eval/psnr_release_input"} < evaluation.keys()
    written = (workdir / "evaluation.json").read_bytes()

    # By the run's own config, on a picture of a size that fits nothing.
    output = tmp_path / "evaluation"
    done = run_main("evaluate", f"--weights={workdir}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert "step 2 of run, on name rendered" in done.stdout
    result = json.loads((output / "evaluation.json").read_text())
    assert set(result["protocols"]) == {"release", "bt601", "rgb"}
    assert result["images"][0]["release"]["input"].keys() == {"psnr", "ssim"}
    record = result["provenance"]
    assert record["config"]["data"]["crop_size"] == 16
    own = json.loads(written)["provenance"]["weights"]
    assert record["weights"]["sha256"] == own["sha256"]
    assert record["data"] == {"name": "rendered", "photos": "bundled"}
    assert (workdir / "evaluation.json").read_bytes() == written


def test_bad_usage_is_one_line(tmp_path):
    for arguments in (
        ["--mode=derain"],
        ["--mode=nonsense"],
        ["--mode=evaluate", "--weights=/nowhere"],
        ["--config=tests/tiny.py", f"--config.data.photos={tmp_path}"],
        ["--config=tests/tiny.py", "--config.data.crop_size=4096"],
    ):
        done = run_main(*arguments, f"--workdir={tmp_path / 'run'}")
        assert done.returncode == 2, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1, (arguments, done.stderr)
