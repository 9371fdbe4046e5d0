"""A generator by name, from a run's checkpoints, or from a file made elsewhere."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from raindrop.errors import UserError
from raindrop.weights import SHIPPED, LoadedGenerator, checkpoints
from raindrop.weights.checkpoints import FOLDER, DamagedCheckpointError

_LOG = logging.getLogger(__name__)


def load_generator(path: str | os.PathLike) -> LoadedGenerator:
    """Any generator: of a run, or of a file or folder made elsewhere.

    Args:
      path: the name of weights that come with raindrop; a work directory, whose best
        step is taken; one of its steps; or whatever `weight_files` knows.

    Raises:
      UserError: nothing there, damaged, or no generator.
    """
    path = Path(path)
    if checkpoints.is_run(path):
        return _load_from_run(path)
    # A run's own need none of the libraries that other people's files do.
    from raindrop.weights import weight_files

    named = None if path.exists() else SHIPPED.get(str(path))
    return weight_files.read_generator(named or path)


def _load_from_run(path: str | Path) -> LoadedGenerator:
    """The moving average of a run's generator, and nothing else of its state."""
    path = Path(path).absolute()
    if path.name.isdigit() and path.parent.name == FOLDER:
        return _load_step(path.parent.parent, int(path.name))
    there = checkpoints.steps(path)
    if not there:
        raise UserError(f"{path} holds no checkpoint; train first")
    for step in _best_first(path, there):
        try:
            return _load_step(path, step)
        except DamagedCheckpointError as error:
            _LOG.warning("%s; looking at another", error)
    raise UserError(
        f"{path / FOLDER} holds no whole checkpoint (damaged: "
        f"{', '.join(map(str, there))}); bring back a copy, or train again"
    )


def _best_first(workdir: Path, there: Iterable[int]) -> list[int]:
    """Steps by PSNR, the highest first; then those without one, the newest first."""

    def key(step: int) -> tuple[float, int]:
        try:
            psnr = checkpoints.read_meta(workdir, step)["psnr"]
        except DamagedCheckpointError:
            # Loading it will say so; a best one that is damaged must not go unsaid.
            return float("inf"), step
        return float("-inf") if psnr is None else psnr, step

    return sorted(there, key=key, reverse=True)


def _load_step(workdir: Path, step: int) -> LoadedGenerator:
    saved = checkpoints.read_average(workdir, step)
    _LOG.info("generator of %s", saved.where)
    return LoadedGenerator(
        fields=saved.meta["config"]["model"]["generator"],
        params=saved.tree["ema"],
        source=f"step {step} of {workdir.name}",
        sha256=saved.meta["digests"]["ema"],
        config=saved.meta["config"],
    )
