"""A new source of pictures is one file."""

import textwrap

import numpy as np
import tiny

from raindrop.data import pipeline, sources
from raindrop.data.sources.source import Source


def test_a_file_in_the_folder_is_a_source(tmp_path, monkeypatch):
    """Trained on, held out and evaluated like any other, and gone with its file."""
    (tmp_path / "stripes.py").write_text(
        textwrap.dedent("""
            import numpy as np

            from raindrop.data.pairs import Pair, PairSet
            from raindrop.data.sources.source import PairSource


            class Stripes(PairSource):
                name = "stripes"

                def open(self, where, split):
                    def read(position):
                        clean = np.full((20, 24, 3), 10 * position, np.uint8)
                        rainy = clean.copy()
                        rainy[::4] = 255
                        return Pair(str(position), rainy, clean)

                    return PairSet([str(i) for i in range(20)], read)
        """)
    )
    known = dict(Source.kinds)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    try:
        monkeypatch.setattr(sources, "KINDS", sources.found())
    finally:
        Source.kinds.clear()
        Source.kinds.update(known)
    config = tiny.get_config()
    config.data.name = "stripes"
    held_out = {pair.name for pair in pipeline.validation_pairs(config)}
    assert len(held_out) == 2
    crops = pipeline.crops(config, 0)
    images = np.concatenate([next(crops)["images"] for _ in range(5)])
    seen = {str(value // 10) for value in np.unique(images[..., 3:])}
    assert seen and not seen & held_out
    assert len(list(pipeline.evaluation_pairs(config))) == 20


def test_every_source_can_be_mixed():
    assert set(tiny.get_config().data.mixture) == set(sources.KINDS)
