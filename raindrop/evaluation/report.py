"""A page to look at an evaluation: one HTML file that needs nothing else."""

import base64
import html
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from raindrop import provenance
from raindrop.data.pairs import Pair
from raindrop.evaluation.metrics import NAMES
from raindrop.media import pixel_values

_QUALITY = 80  # of the JPEGs
_MAP_WIDTH = 3  # attention maps are this many times smaller than the pictures
_COLUMNS = ("input", "output", "gain")  # of each measure


class Report:
    """Collects pictures, made small at once, and then gives the page.

    Args:
      max_images: with pictures; all further ones are in the table alone.
      width: of the pictures in pixels; smaller ones stay as they are.
      protocol: whose numbers the table holds, one of `metrics.PROTOCOLS`.
    """

    def __init__(self, max_images: int, width: int, protocol: str = "release") -> None:
        self._max_images, self._width = max_images, width
        self._protocol = protocol
        self._rows: list[dict[str, Any]] = []
        self._pictures: list[dict[str, Any]] = []

    def add(
        self, pair: Pair, output: np.ndarray, maps: np.ndarray, row: dict[str, Any]
    ) -> None:
        """One image.

        Args:
          pair: rainy and clean.
          output: uint8 RGB, as they.
          maps: [N, H, W, 1] of the drops, nominally in [0, 1].
          row: of `evaluate.evaluate`.
        """
        sides = [dict(row[self._protocol][side]) for side in _COLUMNS[:2]]
        if "lpips" in row:
            for side, scores in zip(_COLUMNS, sides, strict=False):
                scores["lpips"] = row["lpips"][side]
        before, after = sides
        numbers = {m: (before[m], after[m], after[m] - before[m]) for m in before}
        self._rows.append({"name": row["name"], "numbers": numbers})
        if len(self._pictures) < self._max_images:
            self._pictures.append(
                {
                    "rainy": _embed(pair.rainy, self._width),
                    "output": _embed(output, self._width),
                    "clean": _embed(pair.clean, self._width),
                    "maps": [_embed(m, self._width // _MAP_WIDTH) for m in maps],
                }
            )

    def html(
        self, summary: str, title: str, record: Mapping[str, Any] | None = None
    ) -> str:
        """The page: the summary, the table, and the pictures of a chosen row.

        Args:
          summary: text.
          title: of the page.
          record: where the numbers come from, see `provenance`; with the config.
        """
        measures = list(self._rows[0]["numbers"]) if self._rows else []
        groups = "".join(f'<th colspan="3">{NAMES[m]}</th>' for m in measures)
        head = "".join(
            f"<th><button>{name}</button></th>"
            for name in ("image", *_COLUMNS * len(measures))
        )
        body = []
        for i, row in enumerate(self._rows):
            cells = "".join(
                f'<td data-value="{_sortable(number)}">'
                f"{_shown(number, measure, column)}</td>"
                for measure, numbers in row["numbers"].items()
                for column, number in zip(_COLUMNS, numbers, strict=True)
            )
            name = html.escape(row["name"])
            if i < len(self._pictures):
                name = f'<button data-image="{i}">{name}</button>'
            body.append(f"<tr><td>{name}</td>{cells}</tr>")
        note = ""
        if len(self._rows) > len(self._pictures):
            note = (
                f"Pictures of the first {len(self._pictures)} of {len(self._rows)} are "
                "in this page; the outputs of all are in the folder beside it."
            )
        # '<' would let a name end the script.
        data = json.dumps(self._pictures).replace("<", "\\u003c")
        return (
            _PAGE.replace("@TITLE@", html.escape(title))
            .replace("@SUMMARY@", html.escape(summary))
            .replace("@RECORD@", _record(record or {}))
            .replace("@NOTE@", note)
            .replace("@PROTOCOL@", self._protocol)
            .replace("@GROUPS@", groups)
            .replace("@HEAD@", head)
            .replace("@BODY@", "\n".join(body))
            .replace("@DATA@", data)
        )


def _record(record: Mapping[str, Any]) -> str:
    """Weights, data, protocol, versions and date as a list; the config folded away."""
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in provenance.lines(record)
    )
    text = f"<dl>{rows}</dl>" if rows else ""
    if "config" in record:
        config = html.escape(json.dumps(record["config"], indent=2))
        text += f"<details><summary>config</summary><pre>{config}</pre></details>"
    return text


def _embed(image: np.ndarray, width: int) -> str:
    """A data URI of a JPEG, at most `width` pixels wide."""
    image = pixel_values.to_uint8(image)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if picture.width > width:
        height = max(round(picture.height * width / picture.width), 1)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _sortable(number: float) -> str:
    return str(number) if math.isfinite(number) else "1e9"


def _shown(number: float, measure: str, column: str) -> str:
    if not math.isfinite(number):
        return "equal" if number != number or number > 0 else "-"
    digits = 2 if measure in ("psnr", "score") else 4
    return f"{number:{'+' if column == 'gain' else ''}.{digits}f}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 1em auto; max-width: 110em;
  padding: 0 1em; color: #222; background: #fff }
pre { background: #f4f4f4; padding: 1em; overflow: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
#about { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 2em }
main { display: grid; grid-template-columns: minmax(0, max-content) minmax(20em, 1fr);
  gap: 2em; align-items: start }
#scores { overflow: auto; max-height: 96vh; font-size: 12px }
thead { position: sticky; top: 0; background: #fff }
table { border-collapse: collapse } td, th { padding: .15em .5em; text-align: right }
td:first-child, th:first-child { text-align: left }
th[colspan] { text-align: center }
tbody tr:nth-child(odd) { background: #f4f4f4 }
tbody tr.chosen { background: #cfe3ff }
button { font: inherit; color: #0645ad; background: none; border: 0; padding: 0;
  cursor: pointer }
th button { color: inherit; font-weight: 600 }
#look { position: sticky; top: 1em; max-width: 100vh }
#look h2 { margin: 0; overflow-wrap: anywhere }
@media (max-width: 56em) { main, #about { grid-template-columns: minmax(0, 1fr) }
  #look { grid-row: 1; position: static } #scores { max-height: none } }
#stage { position: relative; line-height: 0 }
#stage img { width: 100% } #left { position: absolute; inset: 0 }
#slider { width: 100% } #maps img { width: 24%; margin-right: 1% }
</style></head><body>
<h1>@TITLE@</h1><div id="about"><pre>@SUMMARY@</pre><div>@RECORD@</div></div>
<p>Per image, protocol <code>@PROTOCOL@</code>. A click on a heading sorts, one on a
name shows the pictures; the slider moves the border between left and right. @NOTE@</p>
<main><div id="scores"><table><thead><tr><th></th>@GROUPS@</tr><tr>@HEAD@</tr></thead>
<tbody>
@BODY@
</tbody></table></div>
<section id="look" hidden><h2></h2>
<div id="stage"><img id="right" alt=""><img id="left" alt=""></div>
<input id="slider" type="range" min="0" max="100" value="50" aria-label="border">
<p>left <select id="l"><option>rainy<option>output<option>clean</select>
right <select id="r"><option>output<option>clean<option>rainy</select></p>
<p>maps of the drops, the finest last</p><div id="maps"></div></section></main>
<script>
const pictures = @DATA@, get = id => document.getElementById(id);
const table = document.querySelector("tbody");
let chosen = 0;
function show() {
  const images = pictures[chosen];
  if (!images) return;
  get("look").hidden = false;
  document.querySelector("h2").textContent =
    table.querySelector(`[data-image="${chosen}"]`).textContent;
  get("left").src = images[get("l").value];
  get("right").src = images[get("r").value];
  get("left").style.clipPath = `inset(0 ${100 - get("slider").value}% 0 0)`;
  get("maps").replaceChildren(...images.maps.map(source =>
    Object.assign(new Image(), {src: source})));
  for (const row of table.rows) row.classList.toggle("chosen",
    row.querySelector("button")?.dataset.image == chosen);
}
for (const id of ["slider", "l", "r"]) get(id).addEventListener("input", show);
table.addEventListener("click", event => {
  const image = event.target.dataset.image;
  if (image !== undefined) { chosen = +image; show(); }
});
document.querySelectorAll("th button").forEach((button, column) => {
  let up = false;
  button.addEventListener("click", () => {
    up = !up;
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (a, b) => String(key(a)).localeCompare(key(b), "en", {numeric: true});
    const number = (a, b) => key(a) - key(b);
    const rows = [...table.rows].sort(column ? number : order);
    table.append(...(up ? rows : rows.reverse()));
  });
});
show();
</script></body></html>
"""
