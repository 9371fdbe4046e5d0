"""Progress bars: on a terminal and in a notebook; silence in a log file."""

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm


def bar(**options: Any) -> tqdm:
    """A bar of tqdm's, with its options; disabled where nobody would see it move."""
    if in_notebook():
        from tqdm.auto import tqdm as widget

        return widget(**options)
    return tqdm(dynamic_ncols=True, disable=None, **options)


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def steps(items: Sequence[Any], unit: str) -> Sequence[Any]:
    """The items; in a notebook, and if there are several, with a bar of their own."""
    if len(items) < 2 or not in_notebook():
        return items
    from tqdm.auto import tqdm as widget

    return widget(items, unit=unit, leave=False)
