"""timm's plain vision transformers as backbones of our detectors, under the names "timm/<name>"."""

from pathlib import Path
from typing import Any

import timm
from timm.models import is_model_in_modules
from torch import Tensor, nn

from backbones.networks.timm_networks import STAGE_OF_STRIDE, input_of, known_name, load_file
from backbones.spec import FeatureSpec
from foundation.errors import OptionError

# timm's modules of plain transformers, which keep one resolution from the first block to the last.
_PLAIN = {"vision_transformer", "deit", "eva"}


def is_plain_transformer(name: str) -> bool:
    """Whether "timm/<name>" is a transformer whose only map is that of its patches (ViT, DeiT, DINOv3).

    Raises:
        OptionError: timm has no such network.
    """
    return is_model_in_modules(known_name(name).partition(".")[0], _PLAIN)


class PatchMap(nn.Module):
    """The patches of a transformer's last block as a map; class and register tokens are left out.

    Position embeddings are interpolated to the picture's grid of patches. The transformer's last
    normalisation is left out, as Li et al. 2022 do: the layers behind have their own.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        # Without its last normalisation and classifier, whose parameters would never get a gradient.
        transformer.prune_intermediate_layers(1, prune_norm=True, prune_head=True)
        self.transformer = transformer

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W), multiples of the patch's side p → (N, channels, H / p, W / p)."""
        (patches,) = self.transformer.forward_intermediates(images, indices=1, intermediates_only=True)
        return patches


class TimmTransformer(nn.Module):
    """A plain transformer of timm with what FeatureNetwork reads of a network.

    It has one stage, named by the stride of its patches as timm's other networks are: res4 with patches of
    16 pixels. Freezing that stage fixes the whole transformer.

    Args:
        name: "timm/<name>", with a pretrained tag where that tells the input.
    Raises:
        OptionError: timm has no such network, or its patches do not divide padded pictures.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        theirs = known_name(name)
        transformer: Any = timm.create_model(theirs, dynamic_img_size=True)
        side = transformer.patch_embed.patch_size[0]
        if side not in STAGE_OF_STRIDE:
            raise OptionError(
                f"{name} has patches of {side} pixels, which do not divide pictures padded to multiples of "
                "32; choose a network with patches of 16, such as timm/vit_base_patch16_224 or "
                "timm/vit_base_patch16_dinov3"
            )
        whole = set(transformer.state_dict())
        self.name, self.options = name, dict[str, Any]()
        self.input_spec = input_of(transformer)
        self.body = PatchMap(transformer)
        self.unused = whole - set(transformer.state_dict())
        stage = STAGE_OF_STRIDE[side]
        self.stages = {stage: ["body"]}
        self.feature_specs = {stage: FeatureSpec(transformer.embed_dim, side)}

    def load(self, weights: str | Path) -> None:
        """A file with timm's names, strictly but for classifier and last normalisation.

        Raises:
            WeightsError: the file cannot be read, or is of another network or another size of pictures.
        """
        self.input_spec = load_file(weights, self, self.body.transformer, allow_unexpected=self.unused)
