"""A network that evaluates many images by its plan, where that is faster."""

import numpy as np
import pytest
from networks import created, trained

from quatgrad import sparse, use_backend
from quatgrad.errors import OptionError
from quatgrad.network import Network
from quatgrad.ops import softmax
from quatgrad.sparse.predict import Planned

SHAPE = (16, 16, 4)


@pytest.fixture(autouse=True)
def on_numba():
    with use_backend("numba"):
        yield


def few(density):
    net, masks = trained(created("resnet8", "quaternion"), SHAPE, density=density)
    return Network(net, masks=masks or {})


def test_few_weights_are_computed_by_a_plan():
    net = few(0.1)
    planned = sparse.faster(net)
    assert isinstance(planned.model, Planned)
    x = np.random.default_rng(0).standard_normal((7, *SHAPE), np.float32)
    np.testing.assert_allclose(planned.predict(x), net.predict(x), atol=1e-5)
    assert planned.masks is net.masks


def test_many_weights_are_not_and_neither_is_a_network_without_masks():
    for net in few(0.4), few(None):
        assert sparse.faster(net) is net


def test_only_compiled_plans_are_faster():
    net = few(0.1)
    with use_backend("numpy"):
        assert sparse.faster(net) is net


def test_a_network_without_a_plan_stays_as_it_is():
    net = few(0.1)
    net.model.forward = lambda x, f=net.model.forward: softmax(f(x))
    assert sparse.faster(net) is net


def test_a_prepared_network_is_not_saved_and_not_prepared_again(tmp_path):
    planned = sparse.prepared(few(0.1))
    assert sparse.prepared(planned) is planned
    for save in planned.save, planned.model.save, lambda path: sparse.save(path, planned):
        with pytest.raises(OptionError, match="no weights to save: save the network that it was"):
            save(tmp_path / "net")
    assert not list(tmp_path.iterdir())
