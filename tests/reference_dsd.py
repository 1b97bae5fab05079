"""The DSD distance in plain PyTorch, without dsd_lib: a reference for other libraries.

``features(x, layers)`` is any function from images ``(N, 3, H, W)`` in [0, 1] to feature maps,
layer -> ``(N, C, H', W')``; the official values are for the VGG-16 of this project, ``vgg16``.
"""

import torch
import torch.nn.functional as F


def downscale(x, alpha):
    """Shrink ``(N, C, H, W)`` as MATLAB's bicubic imresize does: antialiased, mirrored borders."""
    for axis in (2, 3):
        side = x.shape[axis]
        center = (torch.arange(-(-side // alpha), dtype=torch.float64) + 0.5) * alpha - 0.5
        taps = torch.arange(-2 * side, 3 * side)  # the image, mirrored at both ends
        t = ((taps - center[:, None]) / alpha).abs()
        near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights = torch.where(t <= 1, near, far) * (t <= 2)
        source = torch.minimum(taps % (2 * side), 2 * side - 1 - taps % (2 * side))
        matrix = torch.zeros(len(center), side, dtype=torch.float64)
        matrix.index_add_(1, source, weights / weights.sum(dim=1, keepdim=True))
        x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.T.to(x), -1, axis)
    return x


def gram(f):
    """``(N, C, H, W)`` -> ``(N, C, C)``, divided by C·H·W."""
    f = f.flatten(2)
    return f @ f.mT / f[0].numel()


def dsd_distance(x, y, features, layers=("relu2_1", "relu2_2", "relu3_1"), alpha=2):
    """``‖DSD(x) - DSD(y)‖₁`` with ``DSD(x) = G(x) - G(x↓α)``, summed over layers: ``(N,)``."""
    x_fine, x_coarse = features(x, layers), features(downscale(x, alpha), layers)
    y_fine, y_coarse = features(y, layers), features(downscale(y, alpha), layers)
    total = 0
    for layer in layers:
        dsd_x = gram(x_fine[layer]) - gram(x_coarse[layer])  # (N, C, C)
        dsd_y = gram(y_fine[layer]) - gram(y_coarse[layer])
        total = total + (dsd_x - dsd_y).abs().mean(dim=(1, 2))
    return total


def vgg16(weights):
    """The features of VGG-16; ``weights`` is ``safetensors.torch.load_file(FILE)``."""
    mean = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1) / 255

    def features(x, layers):
        x, found = (x - mean) / 0.226, {}
        for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
            for name in (f"{block}_{i + 1}" for i in range(convolutions)):
                kernel, bias = (weights[f"conv{name}.{k}"].float() for k in ("weight", "bias"))
                found[f"relu{name}"] = x = F.relu(F.conv2d(x, kernel, bias, padding=1))
            x = F.max_pool2d(x, 2)
        return {layer: found[layer] for layer in layers}

    return features
