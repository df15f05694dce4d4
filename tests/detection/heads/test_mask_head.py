"""The mask head's shapes and first masks, and the mask that is taken of each region."""

import pytest
import torch

from detection.heads.mask_head import MaskConfig, MaskHead, of_class


@pytest.mark.parametrize(("convolutions", "weights"), [(0, 2), (4, 6)])
def test_it_doubles_the_size_whatever_its_depth(convolutions: int, weights: int):
    head = MaskHead(6, 3, MaskConfig(channels=8, convolutions=convolutions))
    # The convolutions, the transposed one, and the one that gives a mask a class.
    assert sum(name.endswith("weight") for name, _ in head.named_parameters()) == weights
    assert head(torch.randn(5, 6, 7, 4)).shape == (5, 3, 14, 8)
    assert head(torch.randn(0, 6, 7, 4)).shape == (0, 3, 14, 8)


def test_every_first_mask_is_one_half_and_in_float32():
    torch.manual_seed(0)
    head = MaskHead(6, 3, MaskConfig(channels=8))
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.randn(2, 6, 4, 4))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.5), rtol=0, atol=0.01)


def test_the_mask_of_a_regions_class():
    masks = torch.arange(12.0).view(2, 3, 1, 2)  # region r, class k: [6r + 2k - 2, 6r + 2k - 1]
    assert of_class(masks, torch.tensor([3, 1])).tolist() == [[[4, 5]], [[6, 7]]]
    assert of_class(masks, torch.tensor([0, 2])).tolist() == [[[0, 1]], [[8, 9]]]  # background: the first


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        MaskConfig(channels=0)
    with pytest.raises(ValueError, match="convolutions must be at least 0, got -1"):
        MaskConfig(convolutions=-1)
