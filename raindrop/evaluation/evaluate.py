"""A generator over a set of pairs: PSNR and SSIM, protocol by protocol; the report."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.evaluation import metrics, report
from raindrop.media import atomic, pictures

_MEASURES = ("psnr", "ssim")
_SIDES = ("input", "output")
# uint8 RGB [H, W, 3] -> float RGB in [0, 1] of the same size, attention [N, H, W, 1]
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
OnImage = Callable[[Pair, np.ndarray, np.ndarray, dict[str, Any]], None]
Evaluation = dict[str, Any]


def evaluate(
    run: Run,
    pairs: Iterable[Pair],
    lpips: Callable[[np.ndarray, np.ndarray], float] | None = None,
    on_image: OnImage | None = None,
) -> Evaluation:
    """Scores the output, and the untouched input beside it, image by image.

    Equal pictures have an infinite PSNR. An image that has one, before or after, is
    left out of the protocol's mean PSNR on both sides, and counted as `identical`.

    Args:
      run: the generator, such as `Derainer.run`.
      pairs: to score on.
      lpips: of `metrics.make_lpips`, to measure that too.
      on_image: called with every pair, its output and attention maps, and its row.

    Returns:
      {"protocols": {protocol: {"input": {"psnr", "ssim"}, "output": ...,
      "identical"}}, "images": [{"name", protocol: {"input": ..., "output": ...}}]};
      the protocols' numbers are means over the images, infinite where all are. With
      `lpips` an entry "lpips" {"input", "output"} more, in both.

    Raises:
      UserError: no pairs, or one that cannot be scored.
    """
    images = []
    for pair in pairs:
        output, attention = run(pair.rainy)
        row: dict[str, Any] = {"name": pair.name}
        sides = dict(zip(_SIDES, (pair.rainy, output), strict=True))
        try:
            for protocol in metrics.PROTOCOLS:
                row[protocol] = {
                    side: metrics.score(picture, pair.clean, protocol)
                    for side, picture in sides.items()
                }
        except ValueError as error:
            raise UserError(f"{pair.name} cannot be scored: {error}") from None
        if lpips:
            row["lpips"] = {s: lpips(p, pair.clean) for s, p in sides.items()}
        images.append(row)
        if on_image:
            on_image(pair, output, attention, row)
    if not images:
        raise UserError("there are no pairs to evaluate on")
    evaluation: Evaluation = {
        "protocols": {p: _means([r[p] for r in images]) for p in metrics.PROTOCOLS},
        "images": images,
    }
    if lpips:
        evaluation["lpips"] = {
            side: float(np.mean([row["lpips"][side] for row in images]))
            for side in _SIDES
        }
    return evaluation


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    differing = [
        row for row in rows if all(math.isfinite(row[s]["psnr"]) for s in _SIDES)
    ]
    means: dict[str, Any] = {
        side: {
            "psnr": float(np.mean([row[side]["psnr"] for row in differing or rows])),
            "ssim": float(np.mean([row[side]["ssim"] for row in rows])),
        }
        for side in _SIDES
    }
    return means | {"identical": len(rows) - len(differing)}


def evaluate_to_folder(
    run: Run, pairs: Iterable[Pair], folder: str | Path, settings: Any
) -> tuple[Evaluation, list[Path]]:
    """`evaluate`, and all there is to look at.

    Args:
      run: the generator.
      pairs: to score on.
      folder: gets evaluation.json, evaluation.csv, evaluation.html (see `report`) and
        the output images, in `evaluation/NAME.png`.
      settings: config group `eval`.

    Returns:
      The evaluation, and what was written.

    Raises:
      UserError: as `evaluate`; a folder that cannot be written; lpips is missing.
    """
    folder = Path(folder)
    lpips = metrics.make_lpips() if settings.lpips else None
    cards = report.Report(settings.report_images, settings.report_width)

    def on_image(pair: Pair, output: np.ndarray, maps: np.ndarray, row: Any) -> None:
        path = folder / "evaluation" / f"{pair.name}.png"
        pictures.write_image(path, output)
        cards.add(pair, pictures.to_uint8(output), maps, row)

    evaluation = evaluate(run, pairs, lpips, on_image)
    written = write(evaluation, folder)
    path = folder / "evaluation.html"
    write_text(path, cards.html(table(evaluation), "evaluation"))
    return evaluation, [*written, path, folder / "evaluation"]


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
    if "lpips" in evaluation:
        before, after = (evaluation["lpips"][side] for side in _SIDES)
        numbers = (f"{before:>18.4f}", f"{after:>18.4f}", f"{after - before:>+18.4f}")
        lines.append(f"{'LPIPS':<8}" + "".join(numbers))
    count = len(evaluation["images"])
    lines.append(f"mean over {count} image{'s' if count > 1 else ''}")
    identical = max(means["identical"] for means in evaluation["protocols"].values())
    if identical:
        lines[-1] += f"; PSNR without {identical} equal to its clean twin"
    return "\n".join(lines)


def write(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes evaluation.json and evaluation.csv, each aside and renamed.

    JSON has no infinity: the PSNR of equal pictures is null there, and inf in the CSV.

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
        for side in _SIDES
        for measure in _MEASURES
    ]
    sides = _SIDES if "lpips" in evaluation else ()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["name", *("_".join(n) for n in names), *(f"lpips_{side}" for side in sides)]
    )
    for row in evaluation["images"]:
        scores = [row[p][side][m] for p, side, m in names]
        rows.writerow([row["name"], *scores, *(row["lpips"][side] for side in sides)])
    contents = {
        "evaluation.json": json.dumps(_finite(evaluation), indent=2, allow_nan=False),
        "evaluation.csv": text.getvalue(),
    }
    for name, content in contents.items():
        write_text(folder / name, content)
    return [folder / name for name in contents]


def write_text(path: Path, content: str) -> None:
    """Writes aside and renames.

    Raises:
      UserError: a folder that cannot be written.
    """
    try:
        with atomic.aside(path) as part:
            part.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
