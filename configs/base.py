r"""Residual blocks on patches of 2 x 2 pixels, where lite sees patches of 4 x 4.

Command:  python main.py --config=configs/base.py --workdir=runs/base \
              --config.data.photos=FOLDER
Hardware: one GPU; on one CPU core 0.9 s a step of two crops.
Result:   no weights are shipped. From nothing, with lite's attention to start from,
          1,500 steps gave +1.31 dB on four real pairs, and it was still rising.

1.0 M parameters. The attention recurrence works on patches of 4 x 4, since where drops
are is well told there. The autoencoder paints a picture, brings back contrast (its
second picture is a gain of the input), and says for each pixel how much of that counts:
no grid of patches is left, and a gate as fine as the smallest bead.
"""

from ml_collections import ConfigDict

from configs import lite


def get_config() -> ConfigDict:
    """The configuration."""
    config = lite.get_config()
    config.data.crop_size = 256
    config.data.blurred = 0.25
    config.data.hazy = 0.05
    config.data.rendering.dry = 0.1
    generator = config.model.generator
    generator.patch_size = 2
    generator.attention_patch_size = 4
    generator.gated = False  # by the map; the autoencoder has a gate of its own
    generator.autoencoder = ConfigDict(
        {
            "kind": "residual",
            "widths": (40, 56, 80),
            "encoder_blocks": (1, 1),
            "decoder_blocks": (1, 1),
            "dilations": (1, 2, 4, 8, 1),
            "pictures": 2,
            "map_channels": 4,  # one for each pixel of a patch
        }
    )
    config.loss.attention = 0.1
    config.loss.gate = 0.1
    config.loss.multiscale = (0.1, 0.1, 1.0)
    config.loss.least_mse = 2e-4  # 37 dB
    config.loss.ssim = 0.5
    config.training.ema_decay = 0.998
    config.training.num_steps = 100_000
    config.training.log_every = 50
    config.training.checkpoint_every = 200
    return config
