import os
import subprocess
import sys

import jax
import pytest

from raindrop import compilation_cache

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
