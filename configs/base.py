r"""Lite's recipe for a wider network that works on single pixels.

Command:  python main.py --config=configs/base.py --workdir=runs/base \
              --config.data.photos=FOLDER
Hardware: one GPU; a quarter of an hour on a large one that lite's training shared, in
          bfloat16. Its first step took nearly four minutes to compile there.

The autoencoder has four scales, the first at the picture's full size. The whole network
works on a quarter of that first, then on half, then on all of it: large drops are small
in a small copy, and what was found there is only to be refined. How the shipped weights
came about is told in raindrop/pretrained/README.md.
"""

from ml_collections import ConfigDict

from configs import lite


def get_config() -> ConfigDict:
    """The configuration."""
    config = lite.get_config()
    config.model.generator.patch_size = 1
    config.model.generator.attention_patch_size = 4
    config.model.generator.pyramid = True
    autoencoder = config.model.generator.autoencoder
    autoencoder.widths = (32, 64, 96, 144)
    autoencoder.encoder_blocks = (1, 1, 2)
    autoencoder.decoder_blocks = (1, 1, 2)
    autoencoder.dilations = (1, 2, 4, 8, 4, 2, 1)
    autoencoder.map_channels = 1
    config.loss.multiscale = (0.2, 0.3, 1.0)  # of the pyramid
    config.training.precision = "bfloat16"
    return config
