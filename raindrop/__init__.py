"""Raindrop removal: the attentive GAN of Qian et al. (CVPR 2018) in JAX/Flax."""

import importlib
from typing import TYPE_CHECKING, Any

from raindrop.errors import UserError

if TYPE_CHECKING:
    from raindrop.export.engines import load
    from raindrop.restoration.derainer import Derainer
    from raindrop.training.config_files import load_config
    from raindrop.training.loop import train_and_evaluate

__version__ = "0.1.0"
__all__ = [
    "Derainer",
    "UserError",
    "__version__",
    "load",
    "load_config",
    "train_and_evaluate",
]

# Imported when they are first used: JAX takes a second, and training needs more than
# the core installs.
_WHERE = {
    "Derainer": "raindrop.restoration.derainer",
    "load": "raindrop.export.engines",
    "load_config": "raindrop.training.config_files",
    "train_and_evaluate": "raindrop.training.loop",
}


if not TYPE_CHECKING:  # which would believe in every name

    def __getattr__(name: str) -> Any:
        if name in _WHERE:
            return getattr(importlib.import_module(_WHERE[name]), name)
        raise AttributeError(f"module 'raindrop' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
