import torch

from analysis.networks.untrained import untrained
from backbones import InputSpec, create_model
from backbones.norm import norm_eps, set_norm_eps


def test_same_network_other_weights(random_network, batches):
    network = random_network("resnet20_cifar", shortcut="B")
    network.input_spec = InputSpec(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
    set_norm_eps(network, 1e-3)
    images = [images for images, _ in batches[:1]]
    before = torch.get_rng_state()
    one, again, other = (untrained(network, images, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.name == network.name and one.options == network.options and not one.training
    assert one.input_spec == network.input_spec and norm_eps(one) == norm_eps(network) == 1e-3
    for name, value in one.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_normalisation_has_the_pictures_statistics(random_network, batches):
    images = batches[0][0]
    network = untrained(random_network("resnet20_cifar"), [images], 0)
    kept = []
    network.layer3[2].bn2.register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    network(images)
    mean, std = kept[0].mean((0, 2, 3)), kept[0].std((0, 2, 3))
    # But for the correction of variances estimated from few values.
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=0.1)
    torch.testing.assert_close(std, torch.ones_like(std), rtol=0, atol=0.1)


def test_every_option_is_kept(batches):
    images = [torch.randn(2, 3, 32, 32)]
    for name, options in (
        ("resnet50", {"stride_on": "1x1", "stem_pool": "ceil", "dilation": ("res5",)}),
        ("plain18", {}),
        ("highway19_cifar", {}),
        ("resnet11_cifar", {"bottlenecks": True, "unit": "exclusive_gating", "gate_bias": 0.0}),
    ):
        network = create_model(name, num_classes=2, **options)
        assert untrained(network, images, 0).options == network.options
