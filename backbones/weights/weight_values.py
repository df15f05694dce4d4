"""What the values of a network's tensors must be, whoever wrote them."""

from collections.abc import Mapping

from torch import Tensor

from foundation.errors import WeightsError


def check_values(state: Mapping[str, Tensor], source: object, *, names: Mapping[str, str] = {}) -> None:
    """Refuses NaN and infinity, with which a network answers, but with nonsense; and negative variances.

    Args:
        state: our name → tensor; whole numbers are always right.
        source: where they come from, for the message.
        names: our name → the one in the message, where they differ.
    Raises:
        WeightsError: names the tensor and says how many of its values are wrong.
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        values = tensor.float() if tensor.itemsize == 1 else tensor  # torch cannot add numbers of 8 bits
        # A sum is far faster than isfinite, and where it is finite, so is every value.
        if not values.sum().isfinite() and (wrong := int((~values.isfinite()).sum())):
            found = f"{wrong} of {tensor.numel()} values are NaN or infinite"
        elif name.endswith("running_var") and (wrong := int((values < 0).sum())):
            found = f"{wrong} of {tensor.numel()} variances are negative"
        else:
            continue
        raise WeightsError(
            f"{source}: in {names.get(name, name)}, {found}; the training diverged or the "
            "file is damaged: take earlier weights, or another copy"
        )


def with_plain_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Counters of batch normalisation as torch keeps them: int64 without dimensions, not (1,) or int32."""
    return {
        name: tensor.reshape(()).long()
        if name.endswith("num_batches_tracked") and tensor.numel() == 1
        else tensor
        for name, tensor in state.items()
    }
