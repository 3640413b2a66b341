"""The ten ResNets of the paper, at full width, learn a batch: tiny images, two steps."""

import numpy as np
import pytest

from quatgrad import Tensor, models, ops
from quatgrad.optim import SGD


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_two_steps_reduce_the_loss_and_change_every_weight(name, algebra):
    net = models.create(name, algebra, 100, init="he")
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 4), dtype=np.float32)
    optimizer = SGD(net.parameters(), momentum=0.0, nesterov=False)

    def loss():
        return ops.cross_entropy(net(Tensor(images)), np.arange(4) * 7)

    start, untrained = net.state_dict(), loss().item()
    for _ in range(2):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step(0.01)
    assert loss().item() < 0.9 * untrained
    for n, w in net.named_parameters():
        assert not np.array_equal(w.numpy(), start[n]), n
        assert np.isfinite(w.numpy()).all(), n
