import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from analysis.signal import measure_signal, normal_inputs, summarise_signal
from backbones import OptionError
from foundation.errors import UserError

POST, PRE = "resnet20_cifar", "preact_resnet20_cifar"


def test_linear_blocks_in_closed_form(linear_network, batches):
    # A block multiplies x >= 0 by 1 + g. From the last block of a stage the identity's share is 1 / (1 + g),
    # from the one before 1 / (1 + g)²; going back likewise; all terms point the same way.
    found = measure_signal(linear_network(0.25), batches)
    np.testing.assert_allclose(found["residual"] / found["shortcut"], 0.25, rtol=1e-5)
    for name in ("forward_identity", "backward_identity", "forward_norm", "backward_norm"):
        np.testing.assert_allclose(found[name][:3], [1.25**-3, 1.25**-2, 1.25**-1], rtol=1e-5)
        np.testing.assert_allclose(found[name][4:6], [1.25**-2, 1.25**-1], rtol=1e-5)
    np.testing.assert_allclose(found["forward_residual"][:3], 1 - found["forward_identity"][:3], rtol=1e-5)
    for name in ("cosine", "forward_cosine", "backward_cosine"):
        np.testing.assert_allclose(found[name][:3], 1, rtol=1e-5)
    gradient = found["gradient"][:3] / found["gradient"][2]
    np.testing.assert_allclose(gradient, [1.25**2, 1.25, 1], rtol=1e-5)


def test_where_no_identity_leads_there_is_no_share(random_network, batches):
    found = measure_signal(random_network(POST), batches)
    assert np.flatnonzero(np.isnan(found["forward_identity"])).tolist() == [3, 6]
    everywhere = measure_signal(random_network("resnet20_cifar", shortcut="C"), batches)
    assert (
        np.isnan(everywhere["backward_identity"]).all()
        and summarise_signal(everywhere)["forward_identity"] is None
    )


def test_terms_make_the_whole_before_and_not_behind_relus(random_network, batches):
    def whole(name):
        found = measure_signal(random_network(name), batches)
        return (found["forward_identity"] + found["forward_residual"])[[0, 1, 2, 4, 5, 7, 8]]

    np.testing.assert_allclose(whole(PRE), 1, rtol=1e-5)
    # The last block's sum and what its ReLU leaves of it have the same projection: x · relu(x) = relu(x)².
    cut = np.abs(whole(POST) - 1)
    assert (cut[[0, 1, 3, 5]] > 1e-3).all() and (cut[[2, 4, 6]] < 1e-5).all()


@pytest.mark.parametrize("name", [PRE, POST])
def test_a_block_against_autograd(name, random_network, batches):
    # From the input x of the second block of layer2, two blocks before the stage's output. Going back, the
    # identity's term is the gradient there, cut by the ReLUs behind both sums in the network of 2015.
    network, (images, labels) = random_network(name), batches[0]
    found = measure_signal(network, [batches[0]])
    kept = []
    handles = [
        block.register_forward_hook(lambda module, inputs, output: kept.append((inputs[0], output)))
        for block in (*network.layer2, *network.layer3)
    ]
    logits = network(images.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    (x, between), (_, out), last = kept[1], kept[2], kept[5][1]
    (at_last,) = torch.autograd.grad(
        F.cross_entropy(logits, labels, reduction="sum"), last, retain_graph=True
    )
    at_last = at_last / at_last.flatten(1).norm(dim=1)[:, None, None, None]
    at_x, at_out = torch.autograd.grad(last, [x, out], at_last)
    passed = at_out if name == PRE else at_out * (out > 0) * (between > 0)
    assert found["backward_identity"][4] == pytest.approx(
        ((passed * at_x).sum() / at_x.square().sum()).item(), rel=1e-4
    )
    assert found["backward_norm"][4] == pytest.approx((passed.norm() / at_x.norm()).item(), rel=1e-4)
    assert found["backward_cosine"][4] == pytest.approx(cosine(passed, at_x), rel=1e-4)
    assert found["gradient"][4] == pytest.approx((at_x.square().sum() / len(images)).sqrt().item(), rel=1e-4)
    assert found["forward_cosine"][4] == pytest.approx(cosine(x, out), rel=1e-4)
    assert found["cosine"][4] == pytest.approx(cosine(*network.layer2[1].terms(x)), rel=1e-4)


def cosine(one, other):
    return F.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()


def test_a_silent_classifier_is_refused(random_network, batches):
    network = random_network("resnet8_cifar")
    torch.nn.init.zeros_(network.fc.weight)
    with pytest.raises(UserError, match="the gradient of the loss is zero"):
        measure_signal(network, batches)


def test_statistics_are_timms(random_network):
    timm_model = pytest.importorskip("timm.utils.model")
    network, shape = random_network(POST), [8, 3, 32, 32]
    torch.manual_seed(3)
    with torch.no_grad():
        theirs = timm_model.extract_spp_stats(
            copy.deepcopy(network),  # its hooks stay
            ["layer?.?", "layer?.?", "layer?.?.bn2"],
            [timm_model.avg_sq_ch_mean, timm_model.avg_ch_var, timm_model.avg_ch_var_residual],
            shape,
        )
    torch.manual_seed(3)
    ours = measure_signal(network, [(torch.normal(0.0, 1.0, shape), torch.zeros(8, dtype=torch.int64))])
    np.testing.assert_allclose(ours["squared_mean"], theirs["avg_sq_ch_mean"], rtol=1e-4)
    np.testing.assert_allclose(ours["variance"], theirs["avg_ch_var"], rtol=1e-4)
    np.testing.assert_allclose(ours["residual_variance"], theirs["avg_ch_var_residual"], rtol=1e-4)


def test_batches_do_not_matter(random_network, batches):
    network = random_network(POST)
    joined = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    one, other = measure_signal(network, batches), measure_signal(network, joined)
    for name in ("forward_identity", "backward_identity", "variance", "gradient"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4)


def test_normal_inputs_are_repeatable_and_of_the_same_shape(batches):
    (one, labels), _ = normal_inputs(batches, 5)
    (again, _), (other, _) = normal_inputs(batches, 5)
    assert torch.equal(one, again) and one.shape == batches[0][0].shape and other.shape == batches[1][0].shape
    assert labels is batches[0][1] and abs(one.std() - 1) < 0.05


def test_plain_networks_are_refused(random_network, batches):
    with pytest.raises(OptionError, match="no shortcuts"):
        measure_signal(random_network("plain8_cifar"), batches)
