"""A config is looked through before anything is read, compiled or written."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from raindrop.errors import UserError
from raindrop.models.attention import AttentiveRecurrentNetwork
from raindrop.models.autoencoder import ContextualAutoencoder
from raindrop.models.discriminator import Discriminator
from raindrop.models.generator import Generator
from raindrop.rendering.settings import Settings
from raindrop.training.losses import Objective

# Groups whose fields are those of a class; a config names the ones that it sets.
_CLASSES = {
    "model.generator": Generator,
    "model.generator.attention": AttentiveRecurrentNetwork,
    "model.generator.autoencoder": ContextualAutoencoder,
    "model.discriminator": Discriminator,
    "loss": Objective,
}
_NOT_SET = ("parent", "name", "dtype")  # of a Flax module, by the code


def fields(config: Any, reference: Any) -> None:
    """Sees that a config has the fields it is to have, of the types they are to have.

    Args:
      config: to look through.
      reference: `configs.default`'s, which has every field.

    Raises:
      UserError: a field that does not exist, is missing, or is of a wrong type.
    """
    _compare(config.to_dict(), reference.to_dict(), "")


def values(config: Any) -> None:
    """Sees that the numbers and choices of a training run make sense.

    What depends on the data, on files or on the devices is seen to where they are.

    Raises:
      UserError: one does not, and what it may be.
    """
    # With OpenCV and scikit-image, which comparing configs does without.
    from raindrop.evaluation import metrics

    data, training, optimizer = config.data, config.training, config.optimizer
    if data.crop_size < 4 or data.crop_size % 4:
        fitting = max(4, round(data.crop_size / 4) * 4)
        raise UserError(
            f"data.crop_size must be a multiple of four, not {data.crop_size}; take "
            f"{fitting}"
        )
    for name in ("num_steps", "batch_size", "log_every", "checkpoint_every"):
        _at_least(f"training.{name}", training[name], 1)
    _at_least("training.evaluate_every", training.evaluate_every, 1)
    _at_least("training.seed", training.seed, 0)
    _at_least("eval.num_images", config.eval.num_images, 0)
    for name in ("warmup_steps", "clip_norm", "end_learning_rate"):
        _at_least(f"optimizer.{name}", optimizer[name], 0)
    for name in ("learning_rate", "discriminator_learning_rate"):
        _at_least(f"optimizer.{name}", optimizer[name], 0)
    for name, value in (
        ("training.ema_decay", training.ema_decay),
        ("optimizer.b1", optimizer.b1),
        ("optimizer.b2", optimizer.b2),
    ):
        if not 0 <= value < 1:
            raise UserError(f"{name} must be at least 0 and below 1, not {value}")
    for name in ("blurred", "hazy"):
        if not 0 <= data[name] <= 1:
            raise UserError(f"data.{name} is a share, from 0 to 1, not {data[name]}")
    if len(data.haze) != 2 or not 0 <= data.haze[0] <= data.haze[1] <= 1:
        raise UserError(
            "data.haze must be two numbers from 0 to 1, smallest first, "
            f"not {data.haze}"
        )
    for name in ("scale", "blur"):
        if len(data[name]) != 2 or not 0 < data[name][0] <= data[name][1] < math.inf:
            raise UserError(
                f"data.{name} must be two numbers above 0, smallest first, "
                f"not {data[name]}"
            )
    for name, value, choices in (
        ("eval.protocol", config.eval.protocol, metrics.PROTOCOLS),
        ("data.on_error", data.on_error, ("raise", "skip")),
        ("optimizer.name", optimizer.name, ("adam", "muon")),
        ("optimizer.schedule", optimizer.schedule, ("constant", "cosine", "linear")),
    ):
        if value not in choices:
            raise UserError(
                f"{name} must be one of {', '.join(choices)}, not {value!r}"
            )
    try:
        objective = Objective(**config.loss)
        Settings(**data.rendering)
    except ValueError as error:
        raise UserError(str(error)) from None
    if len(objective.multiscale) != 3:
        raise UserError(
            "loss.multiscale must be three numbers, for 1/4, 1/2 and full size, not "
            f"{objective.multiscale}"
        )
    steps = config.model.generator.attention.get("steps", 4)
    if not steps and objective.adversarial > 0 and objective.map_target == "attention":
        raise UserError(
            "model.generator.attention.steps is 0, so that there is no map to be the "
            "discriminator's target; set loss.map_target=mask"
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two configs: 'group.field' to 'new, was old'."""
    before, after = _flat(old), _flat(new)
    return {
        name: f"{after.get(name, 'missing')}, was {before.get(name, 'missing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def _flat(group: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in group.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            # JSON, through which one of the two has come, has no tuples.
            flat[prefix + name] = _lists(value)
    return flat


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def _at_least(name: str, value: float, least: int) -> None:
    if not math.isfinite(value) or value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")


def _compare(group: dict[str, Any], reference: dict[str, Any], path: str) -> None:
    known = dict(reference)
    own = _CLASSES.get(path)
    if own:
        for field in dataclasses.fields(own):
            if field.name not in _NOT_SET:
                default = field.default
                known.setdefault(
                    field.name, None if default is dataclasses.MISSING else default
                )
    for name, value in group.items():
        full = f"{path}.{name}" if path else name
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = (
                f"did you mean {near[0]}" if near else f"there are {', '.join(known)}"
            )
            raise UserError(f"config.{full} does not exist; {hint}?")
        expected = known[name]
        if isinstance(expected, dict):
            if not isinstance(value, dict):
                raise UserError(f"config.{full} is a group of fields, not {value!r}")
            _compare(value, expected, full)
        elif expected is not None and not _alike(value, expected):
            raise UserError(f"config.{full} must be {_words(expected)}, not {value!r}")
    missing = [] if own else [name for name in reference if name not in group]
    if missing:
        full = f"{path}.{missing[0]}" if path else missing[0]
        raise UserError(f"config.{full} is missing; configs/default.py has every field")


def _alike(value: Any, expected: Any) -> bool:
    if isinstance(expected, list | tuple):
        if not isinstance(value, list | tuple):
            return False
        return not expected or all(_alike(v, expected[0]) for v in value)
    if isinstance(expected, bool) or isinstance(value, bool):
        return isinstance(expected, bool) and isinstance(value, bool)
    if isinstance(expected, float):
        return isinstance(value, int | float)
    return isinstance(value, type(expected))


def _words(expected: Any) -> str:
    if isinstance(expected, list | tuple):
        return f"a list of values like {expected[0]!r}" if expected else "a list"
    kinds = {bool: "true or false", int: "a whole number", float: "a number"}
    return kinds.get(type(expected), "text")
