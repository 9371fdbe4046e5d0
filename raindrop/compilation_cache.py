"""XLA's compiled programs, kept for the next run."""

import os
from pathlib import Path

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
