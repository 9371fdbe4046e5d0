r"""The TensorFlow network of the blog post on attentive-gan-derainnet, trained here.

Command:  python main.py --config=configs/derainnet.py --workdir=runs/derainnet \
              [--config.training.weights=derain_gan_saved_model]
Hardware: as default.py's; at a batch of one, a GPU of 8 GB.
Result:   not run yet by this project: no number is claimed. Third parties measured
          25.79 dB and 0.9043 for the repository's own weights on test_a, whose script
          stretches each channel to its own minimum and maximum; that is not done here.

The network is the listing's (the SavedModel's): BGR in [-1, 1], leaky ReLU, tanh, four
steps with weights of their own, residual blocks of 1x1 convolutions, no biases. For the
training checkpoint's (3x3, biases, one block more) put `derainnet.fields()` below. Two
slips are kept, since the published weights were trained with them: the gates never see
the hidden state (`recurrent_hidden`), and no residual block sees the sum that the block
before it gave (`chain_sums`).

The losses are the repository's, without its slips:
- theta's exponents run from N - 1 to 0, and not from N + 1 to 2;
- VGG-16 has its biases and gets its mean subtracted, and not a BGR picture in [-1, 1];
- D's logits replace log(D) with D nudged off 0 and 1 by 1e-7;
- the mask is the default's, made from pictures of their own size; the repository first
  squeezed 720x480 into 376x256, and opened and closed the mask;
- there a pixel is drop where the differences of its three channels sum to 35 of 255 and
  more, here where the largest of them is above 30;
- crops are square, 240 and not 360x240, and the discriminator has biases;
- the discriminator sees RGB in [0, 1] and pads all sides alike; theirs sees BGR in
  [-1, 1] and pads as TensorFlow does;
- targets at 1/4 and 1/2 size are means of pixels, and not resized bilinearly;
- the last layers of the three pictures start a tenth as large, close to no picture;
- VGG's features are brought to the scale of an input of unit variance before they are
  compared, so that one weight means the same for all sets of VGG weights;
- what is evaluated is the moving average of the weights, and not the last ones;
- Adam for both networks, where the generator had momentum; the rate is constant, as it
  was: its decay never saw the step.
"""

from ml_collections import ConfigDict

from configs import default
from raindrop.weights import derainnet


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.data.crop_size = 240

    config.model.generator.update(
        derainnet.fields(num_blocks=4, block_kernel_size=1, use_bias=False)
    )
    config.model.discriminator.negative_slope = 0.2

    # 0.6, 0.8, 1.0 in [-1, 1], where a squared error is four times that in [0, 1].
    config.loss.multiscale = (2.4, 3.2, 4.0)
    config.loss.adversarial_loss = "minimax"
    config.vgg.layers = (
        "relu1_1",
        "relu1_2",
        "relu2_1",
        "relu2_2",
        "relu3_1",
        "relu3_2",
        "relu3_3",
    )

    config.optimizer.b1 = 0.9
    config.optimizer.schedule = "constant"
    config.optimizer.warmup_steps = 0
    config.optimizer.clip_norm = 0.0
    config.training.batch_size = 1
    return config
