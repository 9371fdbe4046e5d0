"""Runs of main.py that are to be killed and damaged; small."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from raindrop.media import pictures
from raindrop.weights import checkpoints

ROOT = Path(__file__).parent.parent
NUM_STEPS = 24


class Runner:
    """Starts main.py on photographs of its own.

    Args:
      photos: folder for them.
    """

    def __init__(self, photos):
        self.photos = photos
        rng = np.random.default_rng(0)
        for i in range(4):
            image = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
            pictures.write_image(photos / f"{i}.png", image)

    def arguments(self, workdir, **fields):
        """`fields` as training__num_steps=3."""
        fields = {
            "data.photos": self.photos,
            "loss.perceptual": 0.0,
            # Black pixels leave units of a fresh discriminator at zero, on or off by
            # rounding, which no two programs share.
            "data.rendering.dark": 0.0,
            "training.num_steps": NUM_STEPS,
            "training.checkpoint_every": 4,
            "training.evaluate_every": 12,
        } | {name.replace("__", "."): value for name, value in fields.items()}
        return [
            "--config=tests/tiny.py",
            f"--workdir={workdir}",
            *(f"--config.{name}={value}" for name, value in fields.items()),
        ]

    def start(self, *arguments, devices=1, program=("main.py",)):
        flags = f"--xla_force_host_platform_device_count={devices}"
        return subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **options):
        return end(self.start(*arguments, **options))

    def kill_in_a_save(self, workdir, *arguments):
        """SIGKILL while a checkpoint is being written; whether half of one is left."""
        process = self.start(*arguments)
        while process.poll() is None:
            # A folder may get its last name while it is being listed.
            with contextlib.suppress(FileNotFoundError):
                if any((workdir / "checkpoints").glob("*tmp*/state/*")):
                    process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.003)
        end(process)
        return any((workdir / "checkpoints").glob("*tmp*"))


def wait_for(process, text):
    """Reads stderr to the line that has `text` in it."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)


def end(process):
    """(exit code, the rest of stderr)."""
    # Not communicate(): it would lose what iterating has buffered.
    with process:
        text = process.stderr.read()
    return process.returncode, text


def digests(workdir, step=NUM_STEPS):
    return checkpoints.read_meta(workdir, step)["digests"]


def metrics(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    of_the_clock = ("wall_time", "train/images_per_second")
    return [
        {name: value for name, value in row.items() if name not in of_the_clock}
        for row in rows
        if "run" not in row
    ]


def bad_line(stderr):
    """The one line beyond a run's plain ones, which begin with the time."""
    lines = [line for line in stderr.splitlines() if not line[:2].isdigit()]
    assert len(lines) == 1, stderr
    return lines[0]
