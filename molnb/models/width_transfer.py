"""Width transfer: one learning rate for all widths of a network (Tensor Programs V, 2203.03466).

With Adam, what a step changes in the output of a matrix grows with the number of its inputs. So the
rate of a matrix whose both sides grow with the width falls in proportion to its inputs; of one that
reads the input, and of biases and gains, it stays; what a head's last layer reads is divided by the
ratio of widths (`heads`), and so are logits of attention. A rate that is good at one width is then
good at others. Graphium trains so throughout, with half the width as the narrow network, and
therefore at half the rate that it states.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def rate_factors(model: nn.Module, narrow: nn.Module) -> dict[str, float]:
    """What each parameter gets of the learning rate that is meant for a narrow network.

    Both have the same parameters; sides of matrices that differ grow with the width.
    """
    shapes = {name: parameter.shape for name, parameter in narrow.named_parameters()}
    factors = {}
    for name, parameter in model.named_parameters():
        grows = [wide != small for wide, small in zip(parameter.shape, shapes[name], strict=True)]
        is_hidden = len(grows) == 2 and all(grows)
        factors[name] = shapes[name][1] / parameter.shape[1] if is_hidden else 1.0
    return factors


def describe_rates(
    parameters: Mapping[str, Tensor], factors: Mapping[str, float], learning_rate: float
) -> str:
    """Which rates there are, and how many numbers are trained at each, in a sentence."""
    rates: dict[float, list[Tensor]] = {}
    for name, parameter in parameters.items():
        rates.setdefault(learning_rate * factors[name], []).append(parameter)
    phrases = [
        f"{rate:.4g} ({len(tensors)} tensors, {sum(t.numel() for t in tensors):,} numbers)"
        for rate, tensors in sorted(rates.items(), reverse=True)
    ]
    return f"Of the learning rate {learning_rate:g} parameters get {', '.join(phrases)}."
