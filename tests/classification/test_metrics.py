import math

import pytest
import torch

from classification.metrics import Counts, count, summarise

NAN = math.nan


def test_three_pictures_by_hand():
    # Picture 0 (label 0): right. Picture 1 (label 1): its 2 is third. Picture 2 (label 1): its 0 is sixth.
    logits = torch.tensor(
        [[9, 0, 0, 0, 0, 0, 0], [3, 2, 4, 0, 0, 0, 0], [1, 0, 2, 3, 4, 5, -1]], dtype=torch.float32
    )
    counts = count(logits, torch.tensor([0, 1, 1]))
    assert counts.pictures.tolist() == [1, 2, 0, 0, 0, 0, 0]
    assert counts.top1.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert counts.top5.tolist() == [1, 1, 0, 0, 0, 0, 0]
    result = summarise(counts, list("abcdefg"))
    assert result["pictures"] == 3
    assert result["scores"]["top1_error"] == pytest.approx(100 * 2 / 3)
    assert result["scores"]["top5_error"] == pytest.approx(100 * 1 / 3)
    assert result["class_top1_error"] == {"a": 0, "b": 100, **dict.fromkeys("cdefg")}


def test_loss_is_the_mean_cross_entropy_in_nats():
    # Equal logits of two classes: -ln 1/2. Logits 0 and ln 3 with label 1: -ln 3/4.
    counts = count(torch.tensor([[0, 0], [0, math.log(3)]]), torch.tensor([0, 1]))
    assert summarise(counts, ["a", "b"])["scores"]["loss"] == pytest.approx(
        (math.log(2) - math.log(0.75)) / 2
    )


@pytest.mark.parametrize("logit", [NAN, math.inf])
def test_a_loss_that_is_no_number_is_none(logit):
    # result.json and metrics.jsonl take it as it is, and JSON has neither NaN nor infinity.
    counts = count(torch.tensor([[logit, 0.0], [1.0, 2.0]]), torch.tensor([1, 1]))
    assert summarise(counts, ["a", "b"])["scores"] == {"top1_error": 50.0, "loss": None}


def test_counts_add_up_over_batches():
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 8), torch.randint(0, 8, (50,))
    whole, parts = count(logits, labels), count(logits[:20], labels[:20]) + count(logits[20:], labels[20:])
    for name in ("pictures", "top1", "top5"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
    assert parts.loss == pytest.approx(whole.loss)


def test_equals_topk_where_nothing_ties():
    torch.manual_seed(1)
    logits, labels = torch.randn(500, 20), torch.randint(0, 20, (500,))
    found = logits.topk(5).indices == labels[:, None]
    counts = count(logits, labels)
    assert int(counts.top1.sum()) == int(found[:, 0].sum())
    assert int(counts.top5.sum()) == int(found.sum())


@pytest.mark.parametrize(
    "logits",
    [
        [0, 0, 0, 0, 0, 0, 0],  # a network that says nothing
        [NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, 0, 0, 0, 0, 0, 0],  # the label's own
        [9, NAN, NAN, NAN, NAN, NAN, NAN],  # nothing is beaten by comparison with NaN
        [1, 1, 1, 1, 1, 1, 0],  # six share the highest
    ],
)
def test_ties_and_nan_count_as_wrong(logits):
    counts = count(torch.tensor([logits], dtype=torch.float32), torch.tensor([0]))
    assert int(counts.top1.sum()) == 0
    assert int(counts.top5.sum()) == 0


def test_tie_among_five_is_wrong_at_top_1_and_right_at_top_5():
    counts = count(torch.tensor([[1.0, 1, 1, 1, 1, 0]]), torch.tensor([0]))
    assert (int(counts.top1.sum()), int(counts.top5.sum())) == (0, 1)


def test_one_nan_elsewhere_costs_the_top_1():
    counts = count(torch.tensor([[9, NAN, 0, 0, 0, 0]]), torch.tensor([0]))
    assert (int(counts.top1.sum()), int(counts.top5.sum())) == (0, 1)


@pytest.mark.parametrize(("num_classes", "reported"), [(2, False), (5, False), (6, True)])
def test_top_5_is_left_out_where_it_cannot_be_wrong(num_classes, reported):
    counts = count(torch.zeros(1, num_classes), torch.tensor([0]))
    scores = summarise(counts, [str(i) for i in range(num_classes)])["scores"]
    assert ("top5_error" in scores) == reported
    assert scores["top1_error"] == 100


def test_half_precision_logits_do_not_lose_the_loss():
    # In bfloat16 1000 losses of ln 10 would add up to a multiple of 16.
    counts = count(torch.zeros(1000, 10, dtype=torch.bfloat16), torch.zeros(1000, dtype=torch.int64))
    assert counts.loss == pytest.approx(1000 * math.log(10), rel=1e-5)


def test_nothing_counted_is_an_error():
    none = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no picture was evaluated"):
        summarise(Counts(none, none, none, 0.0), ["a", "b"])
