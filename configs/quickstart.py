"""The whole pipeline in minutes on a laptop's CPU: train, evaluate, look.

Command:  python main.py --config=configs/quickstart.py
Hardware: any; 2 cores are enough.
Time:     see the README.
Result:   the losses fall, the maps show faint outlines, the held-out photograph
          gains hardly anything (22.97 to 23.07 dB, protocol `release`, one run);
          minutes of training on four photographs make no useful weights.

The architecture is the real one, all of it: the generator at half its width, the
discriminator at an eighth.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.data.crop_size = 64
    config.model.generator.attention.channels = 16
    config.model.generator.autoencoder.channels = 32
    config.model.generator.residual = True
    config.model.generator.autoencoder.relu_heads = False
    config.model.discriminator.channels = (4, 8, 8, 16, 16, 16)
    config.model.discriminator.strided_channels = (16, 16, 16)
    config.model.discriminator.dense = 64
    # Few drops and clear ones, and nothing but drops: minutes are enough to see where
    # those are, but not to tell a veil from a bright scene.
    rendering = config.data.rendering
    rendering.dry = 0.0
    rendering.cell = (12, 38, 80)
    rendering.radius = ((2.0, 7.0), (7.0, 21.0), (16.0, 38.0))
    rendering.closeness = (0.55, 1.0)
    rendering.elongation = (0.8, 1.2)
    rendering.irregularity = (0.01, 0.06)
    rendering.contact = (30.0, 80.0)
    rendering.unevenness = (0.0, 0.4)
    rendering.expansion = (0.05, 3.0)
    rendering.interior = (0.0, 0.4)
    rendering.highlight = (0.05, 2.0)
    rendering.highlight_spread = 0.8
    rendering.presence = (0.0, 1.0, 0.5)
    rendering.density = ((0.0, 0.0), (0.1, 0.3), (0.1, 0.3))
    rendering.crowded = 0.0
    rendering.crowd = ((0.0, 0.0),) * 3
    rendering.trails = ((0.0, 0.2),) * 3
    rendering.sharp = 0.0
    rendering.dark = 0.0
    rendering.defocus = (1.0, 4.0)
    rendering.squeeze = (1.0, 1.0)
    rendering.slant = rendering.fringe = (0.0, 0.0)
    rendering.greyness = (0.0, 0.0)
    rendering.veil = (0.0, 0.0)
    # Nothing where the veil is nothing; runs of before have these values.
    rendering.veil_reach = (8.0, 45.0)
    rendering.veil_sky = (0.1, 0.5)
    rendering.darkness = (0.05, 0.8)
    rendering.exposure = (0.0, 0.0)
    rendering.noise = (0.0, 0.0)
    rendering.view = (30.0, 55.0)
    rendering.surroundings = (0.15, 1.2)
    rendering.sky = (0.5, 4.0)
    rendering.tilted = 1.0
    rendering.shining = 1.0
    rendering.highlight_width = (1.0, 1.5)
    rendering.graded = rendering.sharpened = 0.0
    rendering.rim = (1e-3, 1e-3)
    rendering.lens = (0.0, 0.0)
    config.optimizer.learning_rate = 1e-3
    config.optimizer.discriminator_learning_rate = 1e-4
    config.optimizer.warmup_steps = 20
    config.training.num_steps = 400
    config.training.batch_size = 4
    config.training.ema_decay = 0.98
    config.training.log_every = 20
    config.training.checkpoint_every = 200
    config.training.evaluate_every = 200
    config.eval.seed = 2  # a pane with drops of all sizes
    return config
