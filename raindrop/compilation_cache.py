"""XLA's compiled programs, and what takes long to find out, kept for the next run."""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

_OFF = ("", "0", "off", "none")


def folder() -> Path | None:
    """Where the programs are kept; None where they are not.

    `RAINDROP_CACHE` names another folder, or turns the cache off with 'off'; else it
    is `$XDG_CACHE_HOME/raindrop`, or `~/.cache/raindrop`.
    """
    chosen = os.environ.get("RAINDROP_CACHE")
    if chosen is not None:
        return None if chosen.lower() in _OFF else Path(chosen) / "xla"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "raindrop" / "xla"


def enable() -> None:
    """Turns the cache on for all that is compiled from here on.

    A folder that cannot be written to leaves it off: it only saves time.
    """
    path = folder()
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Smaller ones compile about as fast as they are read.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def compile_ahead(function: Any, *arguments: Any) -> Callable[..., Any]:
    """A jitted (or pmapped) function, compiled for arguments like these.

    The memory that compilation took goes back to the system, half a gigabyte for a
    training step: glibc would keep it, beside what the function itself takes. Where
    several processes share a pmapped function it is as it was: it takes a process's own
    part of the arguments then, which a compiled one does not.
    """
    if jax.process_count() > 1:
        return function
    compiled = function.lower(*arguments).compile()
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL(None).malloc_trim(0)
    return compiled


def remembered(question: Any, find_out: Callable[[], Any]) -> Any:
    """What an earlier run found out about networks; found out now if none did.

    Args:
      question: all that the answer depends on beside the code of `raindrop.models` and
        JAX; JSON can hold it.
      find_out: gives the answer, which JSON can hold.
    """
    if not jax.config.jax_compilation_cache_dir:
        return find_out()
    text = json.dumps([question, jax.__version__, _code_of_models()], sort_keys=True)
    name = f"answer-{hashlib.sha256(text.encode()).hexdigest()}.json"
    path = Path(jax.config.jax_compilation_cache_dir) / name
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        answer = find_out()
    part = path.with_suffix(f".{os.getpid()}")
    try:
        part.write_text(json.dumps(answer))
        os.replace(part, path)
    except OSError:  # it only saves time
        with contextlib.suppress(OSError):
            part.unlink()
    return answer


@functools.cache
def _code_of_models() -> str:
    code = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "models").rglob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest()
