r"""A slim generator for machines without a GPU, trained on rendered raindrops.

Command:  python main.py --config=configs/lite.py --workdir=runs/lite \
              --config.data.photos=FOLDER
Hardware: any; hours on two CPU cores.

It works on patches of 4 x 4 pixels, with two steps of attention at 24 channels and an
autoencoder at 28 that, where the map sees drops, paints and brings back contrast (its
second picture is a gain of the input). No discriminator and no perceptual loss: their
gradients cost more than the generator's own, and PSNR does not need them.

The shipped weights came about in stages, told in raindrop/pretrained/README.md; this
recipe is that of the later ones, and has not been run from nothing to its end.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    # The light of a pane is judged by its surroundings; most photographs are 321 high.
    config.data.crop_size = 320
    # Soft and hazy scenes too: else they are taken for veiled.
    config.data.scale = (0.8, 1.6)
    config.data.blurred = 0.35
    config.data.blur = (1.0, 16.0)
    config.data.hazy = 0.1
    config.data.rendering.dry = 0.2
    # What is changed visibly, be it by drops or by the veil.
    config.data.rendering.mask_rule = "difference"
    config.data.rendering.mask_difference = 12 / 255
    attention = config.model.generator.attention
    attention.steps = 2
    attention.channels = 24
    attention.num_blocks = 1
    attention.sigmoid_map = True
    autoencoder = config.model.generator.autoencoder
    autoencoder.channels = 28
    autoencoder.last_channels = 48
    autoencoder.pictures = 2
    # At 1/16 of the picture's size: more would reach beyond the crop.
    autoencoder.dilations = (1, 2, 4, 2)
    autoencoder.relu_heads = False
    # With plain ReLUs 26 of the 28 features of conv1 died.
    autoencoder.negative_slope = 0.2
    config.model.generator.signed = True
    config.model.generator.gated = True
    config.model.generator.patch_size = 4
    config.loss.attention = 0.05
    config.loss.multiscale_norm = "psnr"
    config.loss.ssim = 0.3
    config.loss.perceptual = 0.0
    config.loss.adversarial = 0.0
    # Adam learns less in a step, though its steps take a quarter less time.
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 200
    config.training.num_steps = 20_000
    config.training.batch_size = 2
    config.training.log_every = 100
    config.training.checkpoint_every = 500
    config.training.evaluate_every = 2_000
    return config
