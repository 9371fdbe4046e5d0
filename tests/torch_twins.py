"""The released networks in PyTorch, to hold ours against.

The generator is written from the released state dict (rui1996/DeRaindrop), the
discriminator from the blog post's listing."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F


def conv_relu(i, o, k=3, stride=1, dilation=1):
    return nn.Sequential(
        nn.Conv2d(i, o, k, stride, dilation * (k // 2), dilation), nn.ReLU()
    )


def gate(act):
    return nn.Sequential(nn.Conv2d(64, 32, 3, 1, 1), act)


def up(i, o):
    return nn.Sequential(
        nn.ConvTranspose2d(i, o, 4, 2, 1),
        nn.ReflectionPad2d((1, 0, 1, 0)),
        nn.AvgPool2d(2, stride=1),
        nn.ReLU(),
    )


class Generator(nn.Module):
    """Layer names are those of the released state dict (rui1996/DeRaindrop)."""

    def __init__(self, steps=4):
        super().__init__()
        self.steps = steps
        self.det_conv0 = conv_relu(4, 32)
        for i in range(1, 6):
            block = nn.Sequential(*conv_relu(32, 32), *conv_relu(32, 32))
            setattr(self, f"det_conv{i}", block)
        self.conv_i, self.conv_f = gate(nn.Sigmoid()), gate(nn.Sigmoid())
        self.conv_g, self.conv_o = gate(nn.Tanh()), gate(nn.Sigmoid())
        self.det_conv_mask = nn.Sequential(nn.Conv2d(32, 1, 3, 1, 1))
        self.conv1 = conv_relu(4, 64, 5)
        self.conv2 = conv_relu(64, 128, stride=2)
        self.conv3 = conv_relu(128, 128)
        self.conv4 = conv_relu(128, 256, stride=2)
        self.conv5, self.conv6 = conv_relu(256, 256), conv_relu(256, 256)
        for i in range(1, 5):
            setattr(self, f"diconv{i}", conv_relu(256, 256, dilation=2**i))
        self.conv7, self.conv8 = conv_relu(256, 256), conv_relu(256, 256)
        self.deconv1, self.conv9 = up(256, 128), conv_relu(128, 128)
        self.deconv2, self.conv10 = up(128, 64), conv_relu(64, 32)
        self.outframe1, self.outframe2 = conv_relu(256, 3), conv_relu(128, 3)
        self.output = nn.Sequential(nn.Conv2d(32, 3, 3, 1, 1))

    def forward(self, image):
        attention = torch.full_like(image[:, :1], 0.5)
        h = c = image.new_zeros(image.shape[0], 32, *image.shape[2:])
        maps = []
        for _ in range(self.steps):
            x = self.det_conv0(torch.cat([image, attention], 1))
            for i in range(1, 6):
                x = F.relu(getattr(self, f"det_conv{i}")(x) + x)
            x = torch.cat([x, h], 1)
            c = self.conv_f(x) * c + self.conv_i(x) * self.conv_g(x)
            h = self.conv_o(x) * torch.tanh(c)
            attention = self.det_conv_mask(h)
            maps.append(attention)
        full = self.conv1(torch.cat([image, attention], 1))
        half = self.conv3(self.conv2(full))
        x = self.conv6(self.conv5(self.conv4(half)))
        for i in range(1, 5):
            x = getattr(self, f"diconv{i}")(x)
        x = self.conv8(self.conv7(x))
        quarter_output = self.outframe1(x)
        x = self.conv9(self.deconv1(x) + half)
        half_output = self.outframe2(x)
        x = self.conv10(self.deconv2(x) + full)
        return maps, quarter_output, half_output, self.output(x)


class Discriminator(nn.Module):
    def __init__(self, crop_size):
        super().__init__()
        widths = (3, 8, 16, 32, 64, 128, 128)
        self.convs = nn.Sequential(
            *[conv_relu(i, o, 5) for i, o in itertools.pairwise(widths)]
        )
        self.map = nn.Conv2d(128, 1, 5, 1, 2)
        self.strided = nn.Sequential(
            *[conv_relu(i, o, 5, 4) for i, o in ((128, 64), (64, 64), (64, 32))]
        )
        self.dense = nn.Linear(32 * (crop_size // 64) ** 2, 1024)
        self.logits = nn.Linear(1024, 1)

    def forward(self, image):
        x = self.convs(image)
        attention = self.map(x)
        x = self.strided(x * attention)
        # NHWC order, so that the dense weights are the same matrices.
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.logits(self.dense(x))[:, 0], attention


class VGG(nn.Module):
    """relu1_1 to relu2_2, from RGB in [0, 1] and with the weights of Caffe's model."""

    mean, scale = (103.939, 116.779, 123.68), 255.0

    def __init__(self):
        super().__init__()
        widths = (3, 64, 64, 128, 128)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, 1, 1) for i, o in itertools.pairwise(widths)
        )

    def forward(self, image):
        x = self.scale * image.flip(1) - image.new_tensor(self.mean).view(3, 1, 1)
        features = []
        for i, conv in enumerate(self.convs):
            if i == 2:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            features.append(x)
        return features


def generator_loss(output, fake_logits, vgg, clean, mask):
    """L_G as the paper writes it; `output` is what `Generator` gives."""
    maps, *scales = output
    loss = sum(
        0.8 ** (len(maps) - t) * F.mse_loss(a, mask) for t, a in enumerate(maps, 1)
    )
    for weight, factor, scale in zip((0.6, 0.8, 1.0), (4, 2, 1), scales, strict=True):
        loss = loss + weight * F.mse_loss(scale, F.avg_pool2d(clean, factor))
    with torch.no_grad():
        targets = vgg(clean)
    errors = [F.mse_loss(a, b) for a, b in zip(vgg(scales[-1]), targets, strict=True)]
    # The features of Caffe's model, brought to the size of torchvision's.
    feature_scale = (1 / vgg.scale) / ((0.229 + 0.224 + 0.225) / 3)
    loss = loss + feature_scale**2 * sum(errors) / len(errors)
    return loss + 0.01 * torch.log(1 - torch.sigmoid(fake_logits)).mean()


def discriminator_loss(real, fake, attention):
    """L_D as the paper writes it; `real` and `fake` are what `Discriminator` gives."""
    (real_logits, real_map), (fake_logits, fake_map) = real, fake
    loss = -torch.log(torch.sigmoid(real_logits)).mean()
    loss = loss - torch.log(1 - torch.sigmoid(fake_logits)).mean()
    map_loss = F.mse_loss(fake_map, attention) + F.mse_loss(
        real_map, torch.zeros_like(real_map)
    )
    return loss + 0.05 * map_loss


def gan_gradients(generator, discriminator, vgg, rainy, clean, mask):
    """Gradients of L_G and L_D for one batch, as `{name: gradient}` each."""

    def gradients(loss, module):
        names, params = zip(*module.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, params), strict=True))

    output = generator(rainy)
    fake_logits, _ = discriminator(output[-1])
    g_loss = generator_loss(output, fake_logits, vgg, clean, mask)
    g_gradients = gradients(g_loss, generator)
    d_loss = discriminator_loss(
        discriminator(clean),
        discriminator(output[-1].detach()),
        output[0][-1].detach(),
    )
    return g_gradients, gradients(d_loss, discriminator)


def to_flax(tensors, names):
    """Tensors of convolutions and dense layers, renamed by `names`, as Flax has them.

    `names` takes a layer's PyTorch name to its Flax name.
    """
    tree = {}
    for name, value in tensors.items():
        layer, kind = name.rsplit(".", 1)
        value = value.detach().numpy()
        if kind == "weight":
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        tree.setdefault(names[layer], {})[
            {"weight": "kernel", "bias": "bias"}[kind]
        ] = value
    return tree


DISCRIMINATOR_NAMES = {
    **{f"convs.{i}.0": f"conv{i + 1}" for i in range(6)},
    **{f"strided.{i}.0": f"strided{i + 1}" for i in range(3)},
    **{name: name for name in ("map", "dense", "logits")},
}
VGG_NAMES = {
    "convs.0": "conv1_1",
    "convs.1": "conv1_2",
    "convs.2": "conv2_1",
    "convs.3": "conv2_2",
}
