"""A generator over a set of pairs: the table of PSNR and SSIM, protocol by protocol."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from raindrop import metrics
from raindrop.data.pairs import Pair
from raindrop.errors import UserError

_MEASURES = ("psnr", "ssim")
Derain = Callable[[np.ndarray], np.ndarray]
Evaluation = dict[str, Any]


def evaluate(derain: Derain, pairs: Iterable[Pair]) -> Evaluation:
    """Scores the output, and the untouched input beside it, image by image.

    Args:
      derain: uint8 RGB [H, W, 3] to float RGB in [0, 1] of the same size.
      pairs: to score on.

    Returns:
      {"protocols": {protocol: {"input": {"psnr", "ssim"}, "output": ...}},
       "images": [{"name", protocol: {"input": ..., "output": ...}}]}; the protocols'
      numbers are means over the images.

    Raises:
      UserError: no pairs, or one that cannot be scored.
    """
    images = []
    for pair in pairs:
        output = derain(pair.rainy)
        row: dict[str, Any] = {"name": pair.name}
        try:
            for protocol in metrics.PROTOCOLS:
                row[protocol] = {
                    "input": metrics.score(pair.rainy, pair.clean, protocol),
                    "output": metrics.score(output, pair.clean, protocol),
                }
        except ValueError as error:
            raise UserError(f"{pair.name} cannot be scored: {error}") from None
        images.append(row)
    if not images:
        raise UserError("there are no pairs to evaluate on")
    protocols = {
        protocol: {
            side: {
                measure: float(
                    np.mean([row[protocol][side][measure] for row in images])
                )
                for measure in _MEASURES
            }
            for side in ("input", "output")
        }
        for protocol in metrics.PROTOCOLS
    }
    return {"protocols": protocols, "images": images}


def table(evaluation: Evaluation) -> str:
    """The means, as text: a line for each protocol, input beside output."""
    lines = [
        f"{'protocol':<10}{'input':^18}{'output':^18}{'gain':^18}",
        f"{'':<10}" + f"{'PSNR':>8}{'SSIM':>8}  " * 3,
    ]
    for protocol, means in evaluation["protocols"].items():
        before, after = means["input"], means["output"]
        lines.append(
            f"{protocol:<10}"
            + f"{before['psnr']:>8.2f}{before['ssim']:>8.4f}  "
            + f"{after['psnr']:>8.2f}{after['ssim']:>8.4f}  "
            + f"{after['psnr'] - before['psnr']:>+8.2f}"
            + f"{after['ssim'] - before['ssim']:>+8.4f}"
        )
    count = len(evaluation["images"])
    lines.append(f"mean over {count} image{'s' if count > 1 else ''}")
    return "\n".join(lines)


def write(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes evaluation.json and evaluation.csv, each aside and renamed.

    Returns:
      What was written.

    Raises:
      UserError: a folder that cannot be written.
    """
    folder = Path(folder)
    text = io.StringIO()
    names = [
        (protocol, side, measure)
        for protocol in metrics.PROTOCOLS
        for side in ("input", "output")
        for measure in _MEASURES
    ]
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["name", *("_".join(name) for name in names)])
    for row in evaluation["images"]:
        rows.writerow([row["name"], *(row[p][side][m] for p, side, m in names)])
    contents = {
        "evaluation.json": json.dumps(evaluation, indent=2) + "\n",
        "evaluation.csv": text.getvalue(),
    }
    written = []
    for name, content in contents.items():
        aside = folder / f".{name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside.write_text(content)
            aside.replace(folder / name)
        except OSError as error:
            raise UserError(f"{folder / name} cannot be written: {error}") from None
        written.append(folder / name)
    return written
