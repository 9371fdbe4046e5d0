r"""Raindrop Clarity of Jin et al. (ECCV 2024) as a TFDS builder.

Day and night, with the focus on the drops or on what is behind them; 15,186 triples of
Drop/, Blur/ and Clear/, each SCENE/NUMBER.png. Blur/ (the scene as blurred as behind
the drops, without them) is left out: rainy is Drop/, clean is Clear/.

The layout is that of the authors' loaders (`datasets/raindrop.py`). The number of pairs
of each split is that of their `analyse/cal_rf_bf.py`, where the comments have the
training sets of day and night the wrong way round: only like this do they add up to the
paper's 5,442 by day and 9,744 by night.

`--config.data.name=raindrop_clarity` prepares it by itself from `data.dir`; see
`raindrop_dataset` for how to use it with TFDS alone.
"""

from typing import ClassVar

import tensorflow_datasets as tfds

from raindrop.data.pair_builder import PairBuilder, SplitFiles

_CITATION = """\
@inproceedings{jin2024raindrop,
  title = {Raindrop Clarity: A Dual-Focused Dataset for Day and Night Raindrop Removal},
  author = {Jin, Yeying and Li, Xin and Wang, Jiadong and Zhang, Yan and Zhang, Malu},
  booktitle = {European Conference on Computer Vision},
  year = {2024}
}"""


class Builder(PairBuilder):
    """Splits `day_train`, `day_test`, `night_train` and `night_test`."""

    name = "raindrop_clarity"
    VERSION = tfds.core.Version("1.0.0")
    page = "https://github.com/jinyeying/RaindropClarity"
    title = "Raindrop Clarity"
    splits: ClassVar = {
        "day_train": SplitFiles("DayRainDrop_Train", (4713,)),
        "day_test": SplitFiles("DayRainDrop_Test", (729,)),
        "night_train": SplitFiles("NightRainDrop_Train", (8655,)),
        "night_test": SplitFiles("NightRainDrop_Test", (1089,)),
    }
    folders = ("Drop", "Clear")
    citation = _CITATION


Builder.MANUAL_DOWNLOAD_INSTRUCTIONS = f"{Builder.instructions()} this folder."
