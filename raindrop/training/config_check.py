"""A config is looked through before anything is read, compiled or written."""

import dataclasses
import math
from typing import Any

from raindrop.data import pipeline
from raindrop.errors import UserError, first_line
from raindrop.models import generator
from raindrop.models.discriminator import Discriminator
from raindrop.rendering.settings import Settings
from raindrop.training import config_files
from raindrop.training.losses import Objective


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
    _numbers(config)
    _ranges(config.data)
    _choices(config)
    try:
        objective = Objective(**config.loss)
        Settings(**config.data.rendering)
    except ValueError as error:
        raise UserError(str(error)) from None
    _network(config, objective)


def _numbers(config: Any) -> None:
    training, optimizer = config.training, config.optimizer
    for name in ("num_steps", "batch_size", "log_every", "checkpoint_every"):
        _at_least(f"training.{name}", training[name], 1)
    _at_least("training.evaluate_every", training.evaluate_every, 0)
    _at_least("training.minutes", training.minutes, 0)
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


def _ranges(data: Any) -> None:
    for name in ("cluttered", "blurred", "hazy"):
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


def _choices(config: Any) -> None:
    optimizer = config.optimizer
    if config.training.evaluate_every:
        # With OpenCV and scikit-image, which training alone does without.
        from raindrop.evaluation import metrics

        protocols = tuple(metrics.PROTOCOLS)
    else:
        protocols = (config.eval.protocol,)
    for name, value, choices in (
        ("eval.protocol", config.eval.protocol, protocols),
        ("data.reader", config.data.reader, pipeline.READERS),
        ("data.on_error", config.data.on_error, ("raise", "skip")),
        ("optimizer.name", optimizer.name, ("adam", "muon")),
        ("optimizer.schedule", optimizer.schedule, ("constant", "cosine", "linear")),
    ):
        if value not in choices:
            raise UserError(
                f"{name} must be one of {', '.join(choices)}, not {value!r}"
            )


def _network(config: Any, objective: Objective) -> None:
    """That the generator can be trained on these crops, for these losses."""
    fields = config.model.generator.to_dict()
    try:
        network = generator.from_fields(fields)
    except (ValueError, TypeError) as error:
        raise UserError(f"model.generator: {first_line(error)}") from None
    promised, size = network.interface, config.data.crop_size
    multiple = promised.multiple
    if size < multiple or size % multiple:
        fitting = max(1, round(size / multiple)) * multiple
        raise UserError(
            f"data.crop_size must be a multiple of {multiple} for this generator, not "
            f"{size}; take {fitting}"
        )
    try:
        generator.verify(network, size)
    except ValueError as error:
        raise UserError(f"model.generator: {first_line(error)}") from None
    if len(objective.multiscale) != promised.num_scales:
        raise UserError(
            f"loss.multiscale must have {promised.num_scales} numbers, one for each "
            f"picture that this generator gives, smallest first, not "
            f"{objective.multiscale}"
        )
    if promised.num_maps:
        return
    if objective.adversarial > 0 and objective.map_target == "attention":
        raise UserError(
            "this generator gives no attention map that could be the discriminator's "
            "target; set loss.map_target=mask"
        )


def _at_least(name: str, value: float, least: int) -> None:
    if not math.isfinite(value) or value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")


def _own_fields(path: str, group: dict[str, Any]) -> dict[str, Any] | None:
    """What the code that a group is for takes, with its defaults; else None."""
    if path == "model.generator":
        return generator.defaults(group)
    if path == "model.discriminator":
        return generator.module_defaults(Discriminator)
    if path == "loss":
        return {field.name: field.default for field in dataclasses.fields(Objective)}
    return None


def _compare(
    group: dict[str, Any], reference: dict[str, Any], path: str, whole: bool = True
) -> None:
    """Compares a group of fields with the one of `configs/default.py`.

    Args:
      group: of the config.
      reference: the same of the default.
      path: its name.
      whole: every field has to be there; not so where the code has defaults.
    """
    try:
        own = _own_fields(path, group)
    except ValueError as error:
        raise UserError(f"config.{error}") from None
    known, whole = own or reference, whole and own is None
    for name, value in group.items():
        full = f"{path}.{name}" if path else name
        if name not in known:
            raise UserError(config_files.no_field(full, name, known))
        expected = known[name]
        if isinstance(expected, dict):
            if not isinstance(value, dict):
                raise UserError(f"config.{full} is a group of fields, not {value!r}")
            _compare(value, expected, full, whole)
        elif expected is not None and not _alike(value, expected):
            raise UserError(f"config.{full} must be {_words(expected)}, not {value!r}")
    missing = [name for name in reference if name not in group] if whole else []
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
