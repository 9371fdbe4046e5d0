"""What a run writes down of itself: where its numbers come from."""

import json
from typing import Any

import jax

from raindrop import provenance
from raindrop.data import sources
from raindrop.weights import LoadedGenerator
from raindrop.weights.checkpoints import Saved

# A generator that no weights were given for.
_FROM_NOTHING = {"source": "random", "sha256": ""}


def make(
    config: Any,
    start: LoadedGenerator | None,
    saved: Saved | None,
    vgg: dict[str, str],
    changes: dict[str, str],
) -> dict[str, Any]:
    """The record of a run, for its metrics, evaluations and checkpoints.

    Args:
      config: of the run.
      start: the weights that the generator starts from, if any are given.
      saved: the checkpoint that the run goes on from, if it does.
      vgg: {'source', 'sha256'} of VGG's weights.
      changes: of the config, where it goes on; see `resume`.

    Returns:
      {'weights', 'vgg': {'source', 'sha256'}, 'data': what each source reads and its
      share, 'config', 'protocol', 'versions', 'date', 'devices', 'changes': [{'step',
      'date', and what changed}]}; JSON.
    """
    before = saved.meta["notes"] if saved else {}
    weights = before.get("weights", _FROM_NOTHING)
    if start:
        weights = {"source": start.source, "sha256": start.sha256}
    shares = sources.weights(config.data)
    devices = jax.devices()
    record = {
        "weights": weights,
        "vgg": vgg,
        "data": [
            sources.of(config, name).record() | {"share": share}
            for name, share in shares.items()
        ],
        "config": json.loads(config.to_json_best_effort()),
        "protocol": config.eval.protocol,
        "versions": provenance.versions(),
        "date": provenance.now(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "changes": list(before.get("changes", [])),
    }
    if saved and changes:
        step = {"step": saved.step, "date": record["date"]}
        record["changes"].append(step | changes)
    return record
