"""XLA's compiled programs, and what takes long to find out, kept for the next run."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import pickle
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

_LOG = logging.getLogger(__name__)
_OFF = ("", "0", "off", "none")
_CACHE_OFF = threading.Lock()  # held while JAX's cache is


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
    path = _file("answer", question)
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        answer = find_out()
    _write(path, json.dumps(answer).encode())
    return answer


def kept(question: Any, function: Any, *arguments: Any) -> Callable[..., Any]:
    """A jitted function as an earlier run compiled it for arguments like these.

    JAX's own cache saves the compilation alone: the function is traced and lowered
    again, which takes longer than to clean a small picture. Only on one CPU; else, and
    without a cache, the function itself.

    Args:
      question: all that the program depends on beside the arguments' shapes and types,
        the machine, JAX and the code of `raindrop.models`; JSON can hold it.
      function: jitted.
      *arguments: those that it will be called with.
    """
    one_cpu = jax.local_device_count() == 1 and jax.default_backend() == "cpu"
    if not (jax.config.jax_compilation_cache_dir and one_cpu):
        return function
    shapes = [(x.shape, str(x.dtype)) for x in jax.tree.leaves(arguments)]
    path = _file("program", [question, shapes, _machine()])
    try:
        digest, program = _split(path.read_bytes())
        if hashlib.sha256(program).digest() == digest:
            return serialize_executable.deserialize_and_load(*pickle.loads(program))
    except Exception as error:  # whatever JAX raises: it only saves time
        _LOG.debug("%s is not used: %s", path, error)
    compiled = _compile_anew(function.lower(*arguments))
    try:
        program = pickle.dumps(serialize_executable.serialize(compiled))
    except (ValueError, NotImplementedError) as error:
        _LOG.debug("a program is not kept: %s", error)
        return compiled
    _write(path, hashlib.sha256(program).digest() + program)
    return compiled


def _split(data: bytes) -> tuple[bytes, bytes]:
    size = hashlib.sha256().digest_size
    return data[:size], data[size:]


def _compile_anew(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Without JAX's cache: what comes out of it cannot be written again (jax 0.10)."""
    with _CACHE_OFF:
        folder = jax.config.jax_compilation_cache_dir
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
        try:
            return lowered.compile()
        finally:
            jax.config.update("jax_compilation_cache_dir", folder)
            compilation_cache.reset_cache()


def _file(kind: str, question: Any) -> Path:
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")]
    everything = [question, versions, _code_of_models()]
    text = json.dumps(everything, sort_keys=True)
    name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"
    return Path(jax.config.jax_compilation_cache_dir) / name


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:  # it only saves time
        with contextlib.suppress(OSError):
            part.unlink()


@functools.cache
def _code_of_models() -> str:
    code = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "models").rglob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest()


def _machine() -> list[str]:
    """What a program for the CPU depends on: instructions, threads, XLA's flags."""
    instructions = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                instructions = line
                break
    return [instructions, str(os.cpu_count()), os.environ.get("XLA_FLAGS", "")]
