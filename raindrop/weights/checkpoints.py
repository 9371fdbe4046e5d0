"""Orbax checkpoints of a run: save, restore everything or the generator alone.

`WORKDIR/checkpoints/STEP` holds the state (as host arrays, so that any number of
devices can go on from it) and, as JSON, the config, the versions of the libraries and
digests of the arrays and of that JSON itself: Orbax restores wrong numbers after one
flipped byte without a word.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import jax
import numpy as np
from flax import serialization
from ml_collections import ConfigDict

from raindrop import provenance
from raindrop.errors import UserError, first_line
from raindrop.weights.config_differences import complete, differences

if TYPE_CHECKING:
    # Where it is used: cleaning a picture with shipped weights does without.
    import orbax.checkpoint as ocp

_LOG = logging.getLogger(__name__)
FOLDER = "checkpoints"
_NO_PSNR = -1.0


_State = TypeVar("_State")


class DamagedCheckpointError(UserError):
    """A checkpoint with files that are missing, cut short or altered."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read, whole.

    Attributes:
      step: under which it was saved.
      tree: the state's dict of NumPy arrays.
      meta: what was saved beside it.
      where: its folder.
    """

    step: int
    tree: dict[str, Any]
    meta: dict[str, Any]
    where: Path

    def into(self, state: _State) -> _State:
        """`state`, a fresh one of the same networks, with the saved numbers.

        Raises:
          UserError: it is of other networks.
        """
        template = jax.eval_shape(lambda: serialization.to_state_dict(state))
        _check_shapes(self.tree, template, self.where)
        return serialization.from_state_dict(state, self.tree)

    def differences(self, config: ConfigDict) -> dict[str, str]:
        """`config` against the one it was saved with: see `config_differences`."""
        return differences(complete(self.meta["config"]), complete(config))


def digest(tree: Any) -> str:
    """sha256 over names, types, shapes and bytes of all arrays of `tree`."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


class TrainingState(Protocol):
    """What is saved: a tree that Flax can serialize, of the networks and optimizers."""

    @property
    def step(self) -> Any:
        """Steps taken."""


class Checkpoints:
    """The checkpoints that a run writes: the latest two and the best by PSNR.

    To read them, see `read` and `read_newest`: this class tidies up the folder, which
    is for the process alone that holds the run's lock.

    Args:
      workdir: need not exist yet.
    """

    def __init__(self, workdir: str | Path) -> None:
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import preservation_policy

        self._folder = Path(workdir).absolute() / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
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
                create=False,
                multiprocessing_options=_this_process_only(),
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def best_step(self) -> int | None:
        """The step of the highest PSNR."""
        return self._manager.best_step()

    def save(
        self,
        state: TrainingState,
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

        Raises:
          FloatingPointError: a NaN or an infinity in the state; nothing is saved.
          UserError: it cannot be written; those saved before are whole.
        """
        tree = jax.device_get(serialization.to_state_dict(state))
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if not np.all(np.isfinite(leaf)):
                raise FloatingPointError(
                    f"{jax.tree_util.keystr(path)} after step {step} is not finite"
                )
        meta = {
            "config": json.loads(config.to_json_best_effort()),
            "versions": provenance.versions(),
            "date": provenance.now(),
            "digests": {name: digest(part) for name, part in tree.items()},
            "psnr": psnr,
            "notes": dict(notes or {}),
        }
        meta["digest"] = _digest_of_meta(meta)
        import orbax.checkpoint as ocp

        try:
            with _silent_threads():
                self._manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
                    ),
                    metrics={"psnr": _NO_PSNR if psnr is None else psnr},
                )
        except (ValueError, OSError) as error:
            # What there is of it takes space, which may be what is missing.
            for half in self._folder.glob(f"{step}.*"):
                shutil.rmtree(half, ignore_errors=True)
            # TensorStore's words fill a screen.
            full = os.strerror(errno.ENOSPC)
            why = full if full in str(error) else first_line(error)
            last = steps(self._folder.parent)
            whole = f"step {last[-1]} is whole" if last else "there is none before it"
            raise UserError(
                f"{self._folder / str(step)} cannot be saved: {why}; {whole}, and "
                "the same command resumes from there once that is mended"
            ) from None


@contextlib.contextmanager
def _silent_threads() -> Iterator[None]:
    """Keeps what threads complain of, to nobody, from the screen.

    When Orbax gives up, arrays that are still on their way complain once they are
    collected; the error itself is raised.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    except BaseException:
        # They come from threads, at any time until the process ends: these alone stay
        # unsaid from here on.
        def others(unraisable: Any) -> None:
            if str(unraisable.exc_value) != "Event loop is closed":
                hook(unraisable)

        sys.unraisablehook = others
        raise
    sys.unraisablehook = hook


def steps(workdir: str | Path) -> list[int]:
    """The steps saved in a work directory, which need not exist, oldest first."""
    folder = Path(workdir) / FOLDER
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())


def read(workdir: str | Path, step: int) -> Saved:
    """The checkpoint of `step`.

    Raises:
      DamagedCheckpointError: not there, or not as it was saved.
    """
    where = Path(workdir).absolute() / FOLDER / str(step)
    meta = read_meta(workdir, step)
    tree = _read_arrays(where)
    _check_digests(tree, meta["digests"], where)
    if tree.keys() != meta["digests"].keys():
        raise DamagedCheckpointError(f"{where} is damaged: a part of the state is gone")
    return Saved(step, tree, meta, where)


def read_average(workdir: str | Path, step: int) -> Saved:
    """The moving average of the generator at `step`, and nothing else of its state.

    Raises:
      DamagedCheckpointError: not there, or not as it was saved.
    """
    where = Path(workdir).absolute() / FOLDER / str(step)
    meta = read_meta(workdir, step)
    tree = _read_arrays(where, "ema")
    _check_digests(tree, meta["digests"], where)
    return Saved(step, tree, meta, where)


def read_meta(workdir: str | Path, step: int) -> dict[str, Any]:
    """What was saved beside the state of `step`.

    Raises:
      DamagedCheckpointError: not there, or not as it was saved.
    """
    where = Path(workdir).absolute() / FOLDER / str(step)
    try:
        meta = json.loads((where / "meta" / "metadata").read_text())
        # Orbax reads this one of all steps, and trips over a damaged one.
        psnr = json.loads((where / "metrics" / "metrics").read_text())["psnr"]
        if meta["digest"] != _digest_of_meta(meta):
            raise ValueError("the digest of its JSON does not agree")
        if psnr != (_NO_PSNR if meta["psnr"] is None else meta["psnr"]):
            raise ValueError("the PSNR beside it is another")
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(
            f"{where} is damaged: {first_line(error)}"
        ) from None
    return meta


def read_newest(workdir: str | Path) -> Saved | None:
    """The newest checkpoint that is whole, after a warning about damaged ones.

    Returns:
      None where nothing has been saved yet.

    Raises:
      UserError: there are checkpoints, but none is whole.
    """
    there = steps(workdir)
    for step in reversed(there):
        try:
            return read(workdir, step)
        except DamagedCheckpointError as error:
            _LOG.warning("%s; looking at the one before", error)
    if there:
        raise UserError(
            f"{Path(workdir) / FOLDER} holds no whole checkpoint (damaged: "
            f"{', '.join(map(str, there))}); bring back a copy, or remove that folder "
            "to begin anew"
        )
    return None


def set_damaged_aside(workdir: str | Path, newest_whole: int) -> None:
    """Renames damaged checkpoints to STEP.damaged, so that the run can save again.

    Args:
      workdir: of a run whose lock this process holds.
      newest_whole: the step that the run resumes from.
    """
    for step in steps(workdir):
        where = Path(workdir) / FOLDER / str(step)
        try:
            # Of older ones, only what is read of them all.
            if step < newest_whole:
                read_meta(workdir, step)
            if step <= newest_whole:
                continue
        except DamagedCheckpointError as error:
            _LOG.warning("%s", error)
        aside = where.with_name(f"{step}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        where.rename(aside)
        _LOG.warning("%s is now %s", where, aside.name)


def is_run(path: str | Path) -> bool:
    """Whether `path` is a work directory, or one of its steps."""
    path = Path(path)
    if path.name.isdigit() and path.parent.name == FOLDER:
        return path.is_dir()
    return (path / FOLDER).is_dir()


def _read_arrays(where: Path, part: str | None = None) -> dict[str, Any]:
    """The saved tree as NumPy arrays, or one branch of it."""
    import orbax.checkpoint as ocp

    try:
        with ocp.Checkpointer(
            ocp.PyTreeCheckpointHandler(multiprocessing_options=_this_process_only()),
            multiprocessing_options=_this_process_only(),
        ) as reader:
            tree = reader.metadata(where / "state").item_metadata.tree
            item = jax.tree.map(lambda _: 0, {part: tree[part]} if part else tree)
            return reader.restore(
                where / "state",
                args=ocp.args.PyTreeRestore(
                    item=item,
                    partial_restore=part is not None,
                    restore_args=jax.tree.map(
                        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item
                    ),
                ),
            )
    except Exception as error:  # damaged files make Orbax raise nearly anything
        raise DamagedCheckpointError(
            f"{where} is damaged: {first_line(error)}"
        ) from None


def _this_process_only() -> "ocp.options.MultiprocessingOptions":
    """Of several processes, this one works on the files and waits for no other."""
    import orbax.checkpoint as ocp

    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process{index}",
    )


def _digest_of_meta(meta: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in meta.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _psnr(metrics: Mapping[str, float]) -> float:
    return metrics["psnr"]


def _check_digests(tree: Mapping[str, Any], digests: Any, where: Path) -> None:
    for name, part in tree.items():
        if digest(part) != digests.get(name):
            raise DamagedCheckpointError(
                f"{where} is damaged: the digest of {name!r} does not agree"
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
