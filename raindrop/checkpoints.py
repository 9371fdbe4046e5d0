"""Orbax checkpoints: save, restore everything, restore a generator alone.

`WORKDIR/checkpoints/STEP` holds the state (as host arrays, so that any number of
devices can go on from it) and, as JSON, the config, the versions of the libraries and
a digest of the arrays: Orbax itself restores wrong numbers after one flipped byte
without a word.
"""

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from raindrop.errors import UserError
from raindrop.train_state import GANState
from raindrop.weights import LoadedGenerator, load

_LOG = logging.getLogger(__name__)
FOLDER = "checkpoints"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def digest(tree: Any) -> str:
    """sha256 over names, types, shapes and bytes of all arrays of `tree`."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


class Checkpoints:
    """The checkpoints of a work directory: the latest two and the best by PSNR.

    Args:
      workdir: need not exist yet.
    """

    def __init__(self, workdir: str | Path) -> None:
        self._folder = Path(workdir).absolute() / FOLDER
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation_policy.AnyPreservationPolicy(
                    [
                        preservation_policy.LatestN(2),
                        preservation_policy.BestN(get_metric_fn=_psnr, n=1),
                    ]
                ),
                best_fn=_psnr,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=False,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The newest step there is."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the highest PSNR."""
        return self._manager.best_step()

    def save(
        self,
        state: GANState,
        config: ConfigDict,
        psnr: float | None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Saves `state` under its step, unless that step stands there already.

        Args:
          state: of both networks.
          config: saved beside it.
          psnr: of the last evaluation at this very step, if there was one.
          notes: whatever else the run's record should hold, JSON.
        """
        tree = jax.device_get(serialization.to_state_dict(state))
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        meta = {
            "config": json.loads(config.to_json_best_effort()),
            "versions": {p: importlib.metadata.version(p) for p in _PACKAGES},
            "digests": {name: digest(part) for name, part in tree.items()},
            "notes": dict(notes or {}),
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
            ),
            metrics={"psnr": -1.0 if psnr is None else psnr},
        )

    def restore(self, state: GANState, step: int | None = None) -> GANState:
        """The saved state.

        Args:
          state: a fresh one of the same networks; shapes and types must agree.
          step: which one; the newest by default.

        Raises:
          UserError: nothing there, damaged, or of other networks.
        """
        step = self.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{self._folder} holds no checkpoint")
        where = self._folder / str(step)
        template = jax.eval_shape(lambda: serialization.to_state_dict(state))
        meta = self.read_meta(step)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore())
            )["state"]
        except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
            raise UserError(f"{where} cannot be restored: {_line(error)}") from None
        _check_digests(restored, meta["digests"], where)
        _check_shapes(restored, template, where)
        return serialization.from_state_dict(state, restored)

    def read_meta(self, step: int) -> dict[str, Any]:
        """What was saved beside the state of `step`."""
        try:
            return self._manager.restore(
                step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
            )["meta"]
        except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
            raise UserError(
                f"{self._folder / str(step)} cannot be restored: {_line(error)}"
            ) from None


def latest_step(workdir: str | Path) -> int | None:
    """The newest step saved in a work directory, which need not exist."""
    folder = Path(workdir) / FOLDER
    steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
    return max(steps, default=None)


def is_run(path: str | Path) -> bool:
    """Whether `path` is a work directory, or one of its steps."""
    path = Path(path)
    if path.name.isdigit() and path.parent.name == FOLDER:
        return path.is_dir()
    return (path / FOLDER).is_dir()


def load_generator(path: str | Path) -> LoadedGenerator:
    """Any generator: of a run, or of a file or folder made elsewhere.

    Args:
      path: a work directory, whose best step is taken; one of its steps; or whatever
        `raindrop.weights.load` knows.

    Raises:
      UserError: nothing there, damaged, or no generator.
    """
    return _load_from_run(path) if is_run(path) else load.load(path)


def _load_from_run(path: str | Path) -> LoadedGenerator:
    """The moving average of a run's generator, and nothing else of its state."""
    path = Path(path).absolute()
    step = int(path.name) if path.name.isdigit() else None
    workdir = path if step is None else path.parent.parent
    with Checkpoints(workdir) as checkpoints:
        if step is None:
            step = checkpoints.best_step()
        if step is None:
            raise UserError(f"{workdir} holds no checkpoint; train first")
        meta = checkpoints.read_meta(step)
    where = workdir / FOLDER / str(step)
    try:
        with ocp.PyTreeCheckpointer() as reader:
            tree = reader.metadata(where / "state").item_metadata.tree["ema"]
            item = {"ema": jax.tree.map(lambda _: 0, tree)}
            restored = reader.restore(
                where / "state",
                args=ocp.args.PyTreeRestore(
                    item=item,
                    partial_restore=True,
                    restore_args=jax.tree.map(
                        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item
                    ),
                ),
            )
    except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{where} cannot be restored: {_line(error)}") from None
    _check_digests(restored, meta["digests"], where)
    _LOG.info("generator of %s", where)
    return LoadedGenerator(
        fields=meta["config"]["model"]["generator"],
        params=restored["ema"],
        source=f"step {step} of {workdir.name}",
    )


def _psnr(metrics: Mapping[str, float]) -> float:
    return metrics["psnr"]


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def _check_digests(tree: Mapping[str, Any], digests: Any, where: Path) -> None:
    for name, part in tree.items():
        if digest(part) != digests.get(name):
            raise UserError(
                f"{where} is damaged: the digest of {name!r} does not agree; "
                "take another step"
            )


def _check_shapes(tree: Any, template: Any, where: Path) -> None:
    def leaves(tree: Any) -> dict[str, tuple]:
        return {
            jax.tree_util.keystr(path): (tuple(leaf.shape), np.dtype(leaf.dtype).name)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    found, expected = leaves(tree), leaves(template)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"{where} is of other networks than the config's: {name} is "
                f"{found.get(name, 'missing')} there and "
                f"{expected.get(name, 'missing')} here"
            )
