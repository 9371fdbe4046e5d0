"""Runs of main.py that are to be killed and damaged; small, and compiled once."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from raindrop import image_io

ROOT = Path(__file__).parent.parent


class Runner:
    """Starts main.py on photographs and with a compilation cache of its own.

    Args:
      folder: for both.
    """

    def __init__(self, folder):
        self.photos = folder / "photos"
        rng = np.random.default_rng(0)
        for i in range(4):
            image = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
            image_io.write_image(self.photos / f"{i}.png", image)
        self._cache = folder / "cache"

    def arguments(self, workdir, **fields):
        fields = {
            "data.photos": self.photos,
            "loss.perceptual": 0.0,
            "training.num_steps": 24,
            "training.checkpoint_every": 4,
            "training.evaluate_every": 12,
        } | {name.replace("__", "."): value for name, value in fields.items()}
        return [
            "--config=tests/tiny.py",
            f"--workdir={workdir}",
            *(f"--config.{name}={value}" for name, value in fields.items()),
        ]

    def start(self, *arguments, devices=1):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_COMPILATION_CACHE_DIR": str(self._cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        return subprocess.Popen(
            [sys.executable, "main.py", *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, devices=1):
        process = self.start(*arguments, devices=devices)
        stderr = process.communicate()[1]
        return process.returncode, stderr

    def signal_at(self, text, number, *arguments):
        """Sends signal `number` when a line with `text` comes; (code, stderr)."""
        process = self.start(*arguments)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if text in line:
                process.send_signal(number)
                break
        lines.append(process.communicate()[1])
        return process.returncode, "".join(lines)

    def kill_in_a_save(self, workdir, *arguments):
        """SIGKILL while a checkpoint is being written; whether it was in time."""
        process = self.start(*arguments)
        while process.poll() is None:
            if any((workdir / "checkpoints").glob("*tmp*/state/*")):
                process.send_signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.003)
        process.communicate()
        return any((workdir / "checkpoints").glob("*tmp*"))
