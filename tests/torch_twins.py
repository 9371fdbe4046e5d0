"""The released networks in PyTorch, to hold ours against; written from design.md."""

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


def vgg_features(convs, image):
    """relu1_1 to relu2_2 of [N, 3, H, W], `convs` four Conv2d."""
    features = []
    for i, conv in enumerate(convs):
        if i == 2:
            image = F.max_pool2d(image, 2)
        image = F.relu(conv(image))
        features.append(image)
    return features
