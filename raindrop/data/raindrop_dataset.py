r"""The Raindrop data set of Qian et al. (CVPR 2018) as a TFDS builder.

`--config.data.name=raindrop` prepares it by itself from `data.dir`. Without it, as any
of TFDS:

    import raindrop.data.raindrop_dataset  # registers it
    builder = tfds.builder("raindrop")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=FOLDER))

or, where TFDS's own command runs (4.9.10's needs apache-beam and mlcroissant),

    PYTHONPATH=. tfds build raindrop/data/raindrop_dataset.py --manual_dir=FOLDER

The class is called `Builder` by TFDS's convention. TFDS would name such a one after its
package; with `name` set a module is enough.
"""

from typing import ClassVar

import tensorflow_datasets as tfds

from raindrop.data.pair_builder import PairBuilder, SplitFiles

_CITATION = """\
@InProceedings{Qian_2018_CVPR,
  author = {Qian, Rui and Tan, Robby T. and Yang, Wenhan and Su, Jiajun and
    Liu, Jiaying},
  title = {Attentive Generative Adversarial Network for Raindrop Removal
    From a Single Image},
  booktitle = {The IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2018}
}"""


class Builder(PairBuilder):
    """Splits `train`, `test_a` and `test_b`: data/N_rain.png and gt/N_clean.png.

    Most pictures are 480 x 720; the files of test_b hold more pairs than published.
    """

    name = "raindrop"
    VERSION = tfds.core.Version("1.1.0")
    page = "https://github.com/rui1996/DeRaindrop"
    title = "the Raindrop data set"
    splits: ClassVar = {
        "train": SplitFiles("train", (861,)),
        "test_a": SplitFiles("test_a", (58,)),
        "test_b": SplitFiles("test_b", (239, 249)),
    }
    folders = ("data", "gt")
    citation = _CITATION


Builder.MANUAL_DOWNLOAD_INSTRUCTIONS = f"{Builder.instructions()} this folder."
