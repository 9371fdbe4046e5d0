"""A config small enough for tests; everything of the real one, at a few channels."""

from configs import default


def get_config():
    config = default.get_config()
    config.data.crop_size = 16
    # One kind of drop: the renderer compiles in half the time.
    for name in ("cell", "radius", "presence", "density", "crowd", "trails"):
        config.data.rendering[name] = config.data.rendering[name][1:2]
    generator = config.model.generator
    generator.attention.steps = 2
    generator.attention.channels = 4
    generator.attention.num_blocks = 1
    generator.autoencoder.channels = 4
    generator.autoencoder.dilations = (2,)
    config.model.discriminator.channels = (4, 4)
    config.model.discriminator.strided_channels = (4,)
    config.model.discriminator.dense = 8
    config.vgg.weights = "random"
    config.vgg.layers = ("relu1_1",)
    config.optimizer.schedule = "constant"
    config.optimizer.warmup_steps = 0
    config.training.num_steps = 4
    config.training.batch_size = 8
    config.training.log_every = 1
    config.training.checkpoint_every = 2
    config.training.evaluate_every = 4
    return config
