"""What differs between two configs, of which one was saved, maybe long ago."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from raindrop.models import generator
from raindrop.models.discriminator import Discriminator


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two configs: 'group.field' to 'new, was old'."""
    before, after = _flat(old), _flat(new)
    return {
        name: f"{after.get(name, 'missing')}, was {before.get(name, 'missing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def _flat(group: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            # JSON, through which one of the two has come, has no tuples.
            flat[prefix + name] = _lists(value)
    return flat


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def complete(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """A config as JSON has it, with all fields of the networks.

    One that was saved before a field of a network came about means its default.
    """
    if isinstance(config, ConfigDict):
        config = json.loads(config.to_json_best_effort())
    model = dict(config["model"])
    model["generator"] = generator.current(model["generator"])
    for name, known in (
        ("generator", generator.defaults(model["generator"])),
        ("discriminator", generator.module_defaults(Discriminator)),
    ):
        model[name] = _merged(known, model[name])
    return {**config, "model": model}


def _merged(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**known, **given}
    for name, value in known.items():
        if isinstance(value, Mapping):
            merged[name] = _merged(value, given.get(name, {}))
    return merged
