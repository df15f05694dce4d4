"""Box refinement and box voting (He et al. 2015, appendix B; Gidaris and Komodakis 2015)."""

from collections.abc import Callable

import torch
from torch import Tensor

from detection.heads.candidates import Candidates, Detections
from detection.model.boxes import box_iou
from detection.model.rpn import Proposals

VOTE_IOU = 0.5  # from which on a candidate has a say in a box


def refine(score: Callable[[Tensor], tuple[Tensor, Tensor]], proposals: Proposals, times: int) -> Candidates:
    """What is said of the proposals, and again of the boxes that it made of them, so many times.

    Of its boxes for the classes, a region goes on as that of the most probable one. The paper does not say.

    Args:
        score: gives scores (N, R, K) and boxes (N, R, K, 4) of regions (N, R, 4).
        times: 0 adds nothing.
    Returns:
        Candidates of (1 + times) · R regions, the first ones first.
    """
    boxes, found = proposals.boxes, []
    for time in range(times + 1):
        scores, corrected = score(boxes)
        found.append((scores, corrected))
        if time < times:
            best = scores.argmax(dim=2)[..., None, None].expand(-1, -1, 1, 4)
            boxes = corrected.gather(2, best).squeeze(2)
    scores, corrected = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return Candidates(scores, corrected, proposals.valid.repeat(1, times + 1))


def vote(found: Detections, candidates: Candidates) -> Tensor:
    """Each box as the mean, weighted by their scores, of all candidates of its class that overlap it.

    Candidates below the score threshold and suppressed ones vote, too, as in the code of Gidaris and
    Komodakis. The scores stay as they are.

    Args:
        found: what suppression left of the candidates.
    Returns:
        Boxes (N, D, 4); those of rows that are not valid as they were.
    """
    # Of every region only what it says of the detection's own class: all classes would take K times as much.
    regions = candidates.scores.shape[1]
    scores = candidates.scores.masked_fill(~candidates.valid[..., None], 0)
    own = (found.labels - 1).clamp(min=0)[..., None]
    weights = scores.transpose(1, 2).gather(1, own.expand(-1, -1, regions))
    own = own[..., None].expand(-1, -1, regions, 4)
    voters = candidates.boxes.transpose(1, 2).gather(1, own)
    overlap = box_iou(found.boxes.flatten(0, 1)[:, None], voters.flatten(0, 1)).view_as(weights)
    weights = weights * (overlap >= VOTE_IOU)  # NaN, of two boxes without area, is not
    total = weights.sum(dim=2, keepdim=True)
    means = (weights[:, :, None] @ voters).squeeze(2) / total
    return torch.where(found.valid[..., None] & (total > 0), means, found.boxes)
