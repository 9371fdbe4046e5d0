"""A generator over a set of pairs: its scores, protocol by protocol; the report."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raindrop import provenance
from raindrop.data.pairs import Pair, Readable
from raindrop.errors import UserError, printable
from raindrop.evaluation import metrics, report
from raindrop.media import atomic, pictures, pixel_values

_SIDES = ("input", "output")
# uint8 RGB [H, W, 3] -> float RGB in [0, 1] of the same size, attention [N, H, W, 1]
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
OnImage = Callable[[Pair, np.ndarray, np.ndarray, dict[str, Any]], None]
Distance = Callable[[np.ndarray, np.ndarray], float]  # such as `metrics.LPIPS`
Evaluation = dict[str, Any]


def make_lpips(settings: Any) -> metrics.LPIPS | None:
    """LPIPS where a config's group `eval` asks for it, or its protocol needs it.

    Raises:
      UserError: a protocol or network that does not exist, or that do not go together;
        the weights are missing.
    """
    protocol, network = settings.protocol, settings.lpips_network
    for name, value, choices in (
        ("protocol", protocol, metrics.PROTOCOLS),
        ("lpips_network", network, metrics.LPIPS_NETWORKS),
    ):
        if value not in choices:
            raise UserError(
                f"eval.{name} must be one of {', '.join(choices)}, not {value!r}"
            )
    if protocol == "ntire" and network != "alex":
        raise UserError(
            "eval.protocol=ntire is with LPIPS of AlexNet; leave eval.lpips_network "
            "at alex"
        )
    needed = settings.lpips or protocol == "ntire"
    return metrics.LPIPS(network) if needed else None


def _protocols(lpips: Distance | None) -> list[str]:
    """Those that can be measured: `ntire` is with LPIPS of AlexNet."""
    with_score = lpips is not None and getattr(lpips, "network", "alex") == "alex"
    return [p for p in metrics.PROTOCOLS if p != "ntire" or with_score]


class EvaluationEnded(UserError):
    """A pair that cannot be read or scored has ended an evaluation.

    Attributes:
      evaluation: of the pairs before it.
    """

    def __init__(self, message: str, evaluation: Evaluation) -> None:
        super().__init__(message)
        self.evaluation = evaluation


def evaluate(
    run: Run,
    pairs: Iterable[Pair],
    lpips: Distance | None = None,
    on_image: OnImage | None = None,
) -> Evaluation:
    """Scores the output, and the untouched input beside it, image by image.

    Equal pictures have an infinite PSNR. An image that has one, before or after, is
    left out of the protocol's mean PSNR on both sides, and counted as `identical`.

    Args:
      run: the generator, such as `Derainer.run`.
      pairs: to score on.
      lpips: such as `metrics.LPIPS`, to measure that, and the protocol `ntire`, too.
      on_image: called with every pair, its output and attention maps, and its row.

    Returns:
      {"protocols": {protocol: {"input": {"psnr", "ssim"}, "output": ...,
      "identical"}}, "images": [{"name", protocol: {"input": ..., "output": ...}}],
      "pictures_sha256": of all pairs, "left_out": a line for every pair that could not
      be read or scored}; the protocols' numbers are means over the images, infinite
      where all are. With `lpips` an entry "lpips" {"input", "output"} more, in both.

    Raises:
      EvaluationEnded: a pair that cannot be read or scored, where `pairs` do not leave
        such out.
      UserError: no pairs, or that at the first one.
    """
    images: list[dict[str, Any]] = []
    protocols = _protocols(lpips)
    digest = provenance.Digest()
    readable = pairs if isinstance(pairs, Readable) else None

    def evaluation() -> Evaluation:
        found = _evaluation(images, protocols, lpips is not None)
        left_out = [printable(line) for line in readable.failed] if readable else []
        return found | {"pictures_sha256": digest.hexdigest(), "left_out": left_out}

    try:
        for pair in pairs:
            output, attention = run(pair.rainy)
            try:
                row = _row(pair, output, protocols, lpips)
            except UserError as error:
                if not readable:
                    raise
                readable.leave_out(error)
                continue
            digest.add(pair.rainy, pair.clean)
            images.append(row)
            if on_image:
                on_image(pair, output, attention, row)
    except UserError as error:
        if not images:
            raise
        raise EvaluationEnded(str(error), evaluation()) from None
    if not images:
        failed = f" ({readable.failed[0]})" if readable and readable.failed else ""
        raise UserError(f"there are no pairs to evaluate on{failed}")
    return evaluation()


def _row(
    pair: Pair, output: np.ndarray, protocols: Iterable[str], lpips: Distance | None
) -> dict[str, Any]:
    """The scores of a pair.

    Raises:
      UserError: it cannot be scored.
    """
    row: dict[str, Any] = {"name": printable(pair.name)}
    both = dict(zip(_SIDES, (pair.rainy, output), strict=True))
    try:
        if lpips:
            row["lpips"] = {s: lpips(p, pair.clean) for s, p in both.items()}
        for protocol in protocols:
            row[protocol] = {
                side: metrics.score(
                    picture, pair.clean, protocol, row.get("lpips", {}).get(side)
                )
                for side, picture in both.items()
            }
    except ValueError as error:
        raise UserError(f"{pair.name} cannot be scored: {error}") from None
    return row


def _evaluation(
    images: list[dict[str, Any]], protocols: Iterable[str], with_lpips: bool
) -> Evaluation:
    """The rows and their means."""
    found: Evaluation = {
        "protocols": {p: _means([r[p] for r in images], p) for p in protocols},
        "images": images,
    }
    if with_lpips:
        found["lpips"] = {
            side: float(np.mean([row["lpips"][side] for row in images]))
            for side in _SIDES
        }
    return found


def _means(rows: list[dict[str, Any]], protocol: str) -> dict[str, Any]:
    differing = [
        row for row in rows if all(math.isfinite(row[s]["psnr"]) for s in _SIDES)
    ]
    means: dict[str, Any] = {"identical": len(rows) - len(differing)}
    for side in _SIDES:
        means[side] = {}
        for measure in metrics.MEASURES[protocol]:
            counted = differing or rows if measure == "psnr" else rows
            mean = np.mean([row[side][measure] for row in counted])
            means[side][measure] = float(mean)
        if protocol == "ntire":  # linear, but for the pictures that PSNR leaves out
            parts = {m: means[side][m] for m in ("psnr", "ssim", "lpips")}
            means[side]["score"] = metrics.challenge_score(**parts)
    return means


def choosing(evaluation: Evaluation, protocol: str) -> float:
    """The number that chooses among checkpoints: PSNR, or the score of `ntire`."""
    output = evaluation["protocols"][protocol]["output"]
    return output.get("score", output["psnr"])


def scalars(evaluation: Evaluation) -> dict[str, float]:
    """The means as metrics: 'psnr_release', 'psnr_release_input' and so on."""
    found = {
        f"{measure}_{protocol}{suffix}": means[side][measure]
        for protocol, means in evaluation["protocols"].items()
        for side, suffix in (("output", ""), ("input", "_input"))
        for measure in metrics.MEASURES[protocol]
    }
    if "lpips" in evaluation and "ntire" not in evaluation["protocols"]:
        found["lpips"] = evaluation["lpips"]["output"]
        found["lpips_input"] = evaluation["lpips"]["input"]
    return found


def evaluate_to_folder(
    run: Run,
    pairs: Iterable[Pair],
    folder: str | Path,
    settings: Any,
    record: Mapping[str, Any] | None = None,
) -> tuple[Evaluation, list[Path]]:
    """`evaluate`, and all there is to look at.

    Args:
      run: the generator.
      pairs: to score on.
      folder: gets evaluation.json, evaluation.csv, evaluation.html (see `report`) and
        the output images, in `evaluation/NAME.png`.
      settings: config group `eval`.
      record: where the numbers come from, for the JSON and the page; the protocol, the
        number of pairs and LPIPS's weights are added.

    Returns:
      The evaluation, and what was written.

    Raises:
      UserError: as `evaluate`; a folder that cannot be written; LPIPS's weights are
        missing.
    """
    folder = Path(folder)
    lpips = make_lpips(settings)
    cards = report.Report(
        settings.report_images, settings.report_width, settings.protocol
    )

    def on_image(pair: Pair, output: np.ndarray, maps: np.ndarray, row: Any) -> None:
        path = folder / "evaluation" / f"{pair.name}.png"
        pictures.write_image(path, output)
        cards.add(pair, pixel_values.to_uint8(output), maps, row)

    ended = None
    try:
        evaluation = evaluate(run, pairs, lpips, on_image)
    except EvaluationEnded as error:
        ended, evaluation = error, error.evaluation
        evaluation["ended"] = printable(str(error))
    record = dict(record or {}) | {"protocol": settings.protocol}
    record["pairs"] = {
        "scored": len(evaluation["images"]),
        "sha256": evaluation["pictures_sha256"],
    }
    if lpips:
        record["lpips"] = {"network": lpips.network} | lpips.weights
    evaluation["provenance"] = record
    written = write(evaluation, folder)
    path = folder / "evaluation.html"
    write_text(path, cards.html(table(evaluation), "evaluation", record))
    if ended:
        count = len(evaluation["images"])
        raise UserError(f"{ended}; the scores of the {count} before it are in {folder}")
    return evaluation, [*written, path, folder / "evaluation"]


def table(evaluation: Evaluation) -> str:
    """The means, as text: a line for each measure, input beside output."""
    lines = [f"{'protocol':<10}{'':<8}{'input':>10}{'output':>10}{'gain':>10}"]
    rows = [
        (protocol if i == 0 else "", measure, means["input"], means["output"])
        for protocol, means in evaluation["protocols"].items()
        for i, measure in enumerate(metrics.MEASURES[protocol])
    ]
    if "lpips" in evaluation and "ntire" not in evaluation["protocols"]:
        network = evaluation.get("provenance", {}).get("lpips", {}).get("network", "")
        sides = ({"lpips": evaluation["lpips"][side]} for side in _SIDES)
        rows.append((network, "lpips", *sides))
    for protocol, measure, before, after in rows:
        digits = 2 if measure in ("psnr", "score") else 4
        a, b = before[measure], after[measure]
        numbers = f"{a:>10.{digits}f}{b:>10.{digits}f}{b - a:>+10.{digits}f}"
        lines.append(f"{protocol:<10}{metrics.NAMES[measure]:<8}{numbers}")
    count = len(evaluation["images"])
    lines.append(f"mean over {count} image{'s' if count > 1 else ''}")
    if evaluation.get("left_out"):
        lines[-1] += f"; {len(evaluation['left_out'])} left out"
    identical = max(means["identical"] for means in evaluation["protocols"].values())
    if identical:
        lines[-1] += f"; PSNR without {identical} equal to the ground truth"
    if "ended" in evaluation:
        lines.append(f"not all: ended at {evaluation['ended']}")
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
        for protocol in evaluation["protocols"]
        for side in _SIDES
        for measure in metrics.MEASURES[protocol]
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
        with atomic.replacing(path) as part:
            part.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
