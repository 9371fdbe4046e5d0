"""What of a config may change when a run is resumed.

A run is resumed by the same command in the same work directory. Then every field of its
config falls into one of three kinds:

- The networks (`model.*`, `data.crop_size`), the kind of optimizer and the weights that
  the run started from cannot change: the checkpoint holds what became of them.
- What changes no number that is trained (`FREE`: how long and how often, how fast, what
  else is measured) may.
- All else is the experiment: data, losses, VGG's weights, optimizer, batch, seed.
  Resuming with another value is refused, unless `training.allow_changes` is true; then
  the change is logged, and recorded with its step in the checkpoints, in
  `metrics.jsonl`, and by the new `config.json`.

A run that has done its `training.num_steps` is finished. Called again as it was, it
does nothing; with other values it is refused, as nothing would be trained with them.
More `training.num_steps` resume it.
"""

import logging
from typing import Any

from raindrop.errors import UserError
from raindrop.models.generator import HOW_TO_COMPUTE
from raindrop.weights import checkpoints

_LOG = logging.getLogger(__name__)
_FIXED = ("model.", "data.crop_size", "optimizer.name", "training.weights")
FREE = (
    "training.num_steps",
    "training.log_every",
    "training.checkpoint_every",
    "training.evaluate_every",
    "training.minutes",
    "training.allow_changes",
    "data.cache_gib",
    "data.on_error",
    "eval.lpips",
    "eval.lpips_network",
    "eval.report_images",
    "eval.report_width",
    "check.",
)


def check(saved: checkpoints.Saved, config: Any) -> dict[str, str]:
    """Sees that `saved` may be trained on with `config`.

    Args:
      saved: the newest checkpoint of the run.
      config: of this call.

    Returns:
      The changes to record: 'group.field' to 'new, was old'.

    Raises:
      UserError: the networks are others; the run is finished, and the values are not
        its own; or they are not, without `training.allow_changes`.
    """
    found = saved.differences(config)
    fixed = {k: v for k, v in found.items() if _is_fixed(k)}
    if fixed:
        raise UserError(
            f"{saved.where} is of another network or start ({_text(fixed)}); "
            "give those fields their old values, or another --workdir"
        )
    changed = {k: v for k, v in found.items() if _matters(k, v)}
    new = {k: v for k, v in found.items() if _is_new_in_the_renderer(k, v)}
    if new:
        _LOG.warning(
            "the renderer draws more than when %s was saved: %s",
            saved.where,
            _text(new),
        )
    workdir, steps = saved.where.parents[1], config.training.num_steps
    if saved.step > steps:
        raise UserError(
            f"{workdir} has done {saved.step} steps already, more than "
            f"training.num_steps={steps}; give more, or another --workdir"
        )
    if changed and saved.step == steps:
        raise UserError(
            f"{workdir} is finished: its {steps} steps are done, and none is left for "
            f"{_text(changed)}; give another --workdir (and to start from this run's "
            f"weights --config.training.weights={workdir}), or its own values"
        )
    _refuse(changed, saved, config.training.allow_changes)
    return changed


def check_vgg(
    saved: checkpoints.Saved, vgg: dict[str, str], allow_changes: bool
) -> dict[str, str]:
    """Sees that the perceptual loss is with the weights that it was with.

    Args:
      saved: the newest checkpoint of the run.
      vgg: {'source', 'sha256'} of VGG's weights now.
      allow_changes: `training.allow_changes`.

    Returns:
      The change to record, if it is one, as `check`.

    Raises:
      UserError: it is one, and `allow_changes` is not set.
    """
    before = saved.meta["notes"].get("vgg")
    if not isinstance(before, dict):  # not recorded so once
        return {}
    # The same file may lie elsewhere now.
    if any(before[key] == vgg[key] != "" for key in ("sha256", "source")):
        return {}
    changed = {"VGG's weights": f"{vgg['source']}, was {before['source']}"}
    _refuse(changed, saved, allow_changes)
    return changed


def _is_fixed(name: str) -> bool:
    how_to_compute = tuple(f".{field}" for field in HOW_TO_COMPUTE)
    return name.startswith(_FIXED) and not name.endswith(how_to_compute)


def _matters(name: str, values: str) -> bool:
    # Fields that the code did not have then, or has no more, were not chosen.
    of_the_code = values.startswith("missing, was") or values.endswith(", was missing")
    return not (of_the_code or name.startswith((*FREE, *_FIXED)))


def _is_new_in_the_renderer(name: str, values: str) -> bool:
    return name.startswith("data.rendering.") and values.endswith(", was missing")


def _refuse(
    changed: dict[str, str], saved: checkpoints.Saved, allow_changes: bool
) -> None:
    if not changed:
        return
    if not allow_changes:
        raise UserError(
            f"{saved.where} was trained with other values ({_text(changed)}); give "
            "the old ones to resume the run, or another --workdir, or "
            "--config.training.allow_changes=true to train on with the new ones, "
            "which is recorded"
        )
    _LOG.warning("from step %d on: %s", saved.step, _text(changed))


def _text(changed: dict[str, str]) -> str:
    return "; ".join(f"{name}={values}" for name, values in changed.items())
