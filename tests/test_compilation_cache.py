import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import raindrop
from raindrop import compilation_cache
from raindrop.media.pictures import read_image, write_image

PROGRAM = """
import jax, jax.numpy as jnp
from raindrop import compilation_cache
compilation_cache.enable()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8)))
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "/a"}, "/a/raindrop/xla"),
        ({"XDG_CACHE_HOME": "", "HOME": "/b"}, "/b/.cache/raindrop/xla"),
        ({"RAINDROP_CACHE": "/c", "XDG_CACHE_HOME": "/a"}, "/c/xla"),
        ({"RAINDROP_CACHE": "off"}, "None"),
    ],
)
def test_folder(monkeypatch, environment, expected):
    monkeypatch.delenv("RAINDROP_CACHE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(compilation_cache.folder()) == expected


def test_programs_are_kept(tmp_path):
    environment = {**os.environ, "RAINDROP_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    assert any((tmp_path / "xla").iterdir())


def test_answers_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("RAINDROP_CACHE", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    asked = []

    def ask(question):
        def find_out():
            asked.append(question)
            return {"of": question}

        return compilation_cache.remembered(question, find_out)

    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert ask("a") == ask("a") == {"of": "a"}  # no cache, and nothing is written
        compilation_cache.enable()
        assert ask("a") == ask("a") == {"of": "a"}
        assert ask("b") == {"of": "b"}
        assert asked == ["a", "a", "a", "b"]
        for path in (tmp_path / "xla").iterdir():
            path.write_text("damaged")
        assert ask("b") == {"of": "b"}
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


KEPT = """
import jax, jax.numpy as jnp
from raindrop import compilation_cache
compilation_cache.enable()

def of(x, y):
    print("traced", end=" ")
    return {"sum": jnp.sin(x["a"]) @ x["a"].T + 1, "none": None if y is None else y}

x = {"a": jnp.arange(12.0).reshape(3, 4)}
print(compilation_cache.kept("of", jax.jit(of), x, None)(x, None)["sum"].sum())
"""


def test_a_kept_program_is_not_traced_again(tmp_path):
    environment = {**os.environ, "RAINDROP_CACHE": str(tmp_path), "XLA_FLAGS": ""}

    def run(**more):
        command = [sys.executable, "-c", KEPT]
        done = subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first, again = run(), run()
    assert first == ["traced", *again]
    for path in (tmp_path / "xla").glob("program-*"):
        data = path.read_bytes()
        path.write_bytes(data[:-9] + b"\0" + data[-8:])
    assert run() == first
    assert run(XLA_FLAGS="--xla_force_host_platform_device_count=2") == first


def test_an_earlier_runs_program_cleans_alike(tmp_path):
    rainy = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    write_image(tmp_path / "wet.png", rainy)
    environment = {**os.environ, "RAINDROP_CACHE": str(tmp_path), "XLA_FLAGS": ""}
    outputs = []
    for name in ("first.png", "second.png"):
        command = [sys.executable, "main.py", "derain", tmp_path / "wet.png"]
        subprocess.run([*command, tmp_path / name], env=environment, check=True)
        outputs.append(read_image(tmp_path / name))
    assert any((tmp_path / "xla").glob("program-*"))
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(outputs[0], raindrop.load().derain(rainy), atol=1)
