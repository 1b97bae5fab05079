"""One pass of the feature network for what is being learned and its target together."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsd_lib.backbones import Backbone

Maps = dict[str, Tensor]


def shared_pass(
    net: Backbone, both: Tensor, count: int, layers: Iterable[str]
) -> tuple[Maps, Maps]:
    """Feature maps of predictions and targets from one pass; only the predictions' have a graph.

    In a joint batch autograd would send zeros back through the targets' half of every layer, as
    much work again as the predictions' gradient. Two passes avoid that, and each costs its own
    start. Here the pass is one and the way back is that of the predictions alone.

    Args:
        net: the feature network, frozen.
        both: pictures ``(N, 3, H, W)``: predictions, then targets.
        count: number of predictions among them.
        layers: names out of ``net.layers``.

    Returns:
        The maps of the predictions, layer -> ``(count, C, H', W')``, and those of the targets,
        ``(N - count, C, H', W')``. A gradient can be taken once, not differentiated again.

    Source: Eq. (6); chapter 8 of the book.

    >>> from dsd_lib import load_backbone
    >>> both = torch.rand(4, 3, 16, 16, requires_grad=True)
    >>> learned, fixed = shared_pass(load_backbone(), both, 2, ["relu2_1"])
    >>> learned["relu2_1"].requires_grad, fixed["relu2_1"].requires_grad
    (True, False)
    """
    layers = net.check_layers(layers)
    maps = _SharedPass.apply(both, net, count, layers)
    return (
        dict(zip(layers, maps[: len(layers)], strict=True)),
        dict(zip(layers, maps[len(layers) :], strict=True)),
    )


class _SharedPass(torch.autograd.Function):
    """The network's pass over both halves, and its derivative over the first."""

    @staticmethod
    def forward(ctx, both: Tensor, net: Backbone, count: int, layers: tuple[str, ...]) -> tuple:
        depth = max(net.layers.index(layer) for layer in layers) + 1
        stages = net.layers[:depth]
        # A ReLU's derivative needs its result, pooling's what it pooled; a convolution's nothing.
        kept = tuple(name for name in stages if name in layers or name.startswith("relu"))
        maps = net(both, kept, check_range=False)
        learned = {name: f[:count] for name, f in maps.items()}
        fixed = [maps[layer][count:] for layer in layers]
        ctx.save_for_backward(*learned.values())
        ctx.kept, ctx.net, ctx.stages, ctx.layers = kept, net, stages, layers
        ctx.shape, ctx.dtype = both.shape, both.dtype
        ctx.mark_non_differentiable(*fixed)
        ctx.set_materialize_grads(False)
        return (*(learned[layer] for layer in layers), *fixed)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor | None) -> tuple:
        maps = dict(zip(ctx.kept, ctx.saved_tensors, strict=True))
        arriving = dict(zip(ctx.layers, gradients, strict=False))  # the targets' are left over
        count, height, width = len(ctx.saved_tensors[0]), *ctx.shape[2:]
        sides = {}
        for name in ctx.stages:  # the sides of each stage's input
            sides[name] = (height, width)
            if name.startswith("pool"):
                height, width = height // 2, width // 2
        g = None
        for name in reversed(ctx.stages):
            own = arriving.get(name)
            if own is not None:
                g = own if g is None else g + own
            if g is None:
                continue
            if name.startswith("relu"):
                g = torch.ops.aten.threshold_backward(g, maps[name], 0)
            elif name.startswith("pool"):
                g = _unpool(g, maps[ctx.stages[ctx.stages.index(name) - 1]])
            else:
                weight = ctx.net.stages[name].weight.to(g.dtype)
                size = (count, weight.shape[1], *sides[name])
                g = torch.nn.grad.conv2d_input(size, weight, g, padding=1)
        if g is None:
            return None, None, None, None
        gradient = torch.zeros(ctx.shape, dtype=ctx.dtype, device=g.device)
        gradient[:count] = g / ctx.net.std
        return gradient, None, None, None


def _unpool(g: Tensor, pooled: Tensor) -> Tensor:
    """The gradient of 2×2 maximum pooling: each value goes to where the maximum was."""
    with torch.autocast(g.device.type, enabled=False):
        _, places = torch.ops.aten.max_pool2d_with_indices(pooled, [2, 2], [2, 2])
        return torch.ops.aten.max_pool2d_with_indices_backward(
            g, pooled, [2, 2], [2, 2], [0, 0], [1, 1], False, places
        )
