import math

import pytest
import torch

from classification.score.classifier_errors import confusion, join, judge, summarise

NAN = math.nan
# Picture 0 (label 0): right. Picture 1 (label 1): its 2 is third. Picture 2 (label 1): its 0 is sixth.
THREE = torch.tensor(
    [[9, 0, 0, 0, 0, 0, 0], [3, 2, 4, 0, 0, 0, 0], [1, 0, 2, 3, 4, 5, -1]], dtype=torch.float32
)


def scores_of(logits):
    return torch.tensor(logits, dtype=torch.float32).log_softmax(1)


def test_three_pictures_by_hand():
    outcomes = judge(THREE.log_softmax(1), [[0], [1], [1]])
    assert outcomes.top1.tolist() == [True, False, False]
    assert outcomes.top5.tolist() == [True, True, False]
    assert outcomes.best[:, :3].tolist() == [[0, *outcomes.best[0, 1:3].tolist()], [2, 0, 1], [5, 4, 3]]
    torch.testing.assert_close(outcomes.probabilities, THREE.softmax(1).topk(5).values)
    result = summarise(outcomes, list("abcdefg"))
    assert result.keys() == {"pictures", "scores", "class_top1_error"} and result["pictures"] == 3
    assert result["scores"]["top1_error"] == pytest.approx(100 * 2 / 3)
    assert result["scores"]["top5_error"] == pytest.approx(100 * 1 / 3)
    assert result["class_top1_error"] == {"a": 0, "b": 100, **dict.fromkeys("cdefg")}


def test_several_labels_by_hand():
    # Of picture 0 class 0 or 3 is right; picture 1 shows class 2 (its best) and 3; 2 has none: left out.
    # Picture 3: classes 5 and 4 are its best two, so 4 or 3 is not top-1, but top-5.
    outcomes = judge(THREE[[0, 1, 2, 2]].log_softmax(1), [[0, 3], [3, 2], [], [4, 3]])
    assert outcomes.top1.tolist() == [True, True, False, False]
    assert outcomes.top5.tolist() == [True, True, False, True]
    result = summarise(outcomes, list("abcdefg"))
    assert (result["pictures"], result["left_out"]) == (3, 1)
    assert result["scores"] == {"top1_error": pytest.approx(100 / 3), "top5_error": 0, "loss": None}
    assert result["class_top1_error"] == {
        **{"a": 0, "b": None, "c": 0, "d": pytest.approx(100 / 3), "e": 100, "f": None, "g": None}
    }
    assert confusion(outcomes, 7) is None


def test_two_labels_that_share_the_highest_score_are_no_tie():
    assert judge(scores_of([[2, 2, 1, 0, 0, 0]]), [[0, 1]]).top1.tolist() == [True]
    assert judge(scores_of([[2, 2, 2, 0, 0, 0]]), [[0, 1]]).top1.tolist() == [False]


def test_pictures_without_labels_alone_have_no_scores():
    result = summarise(judge(THREE, [[], [], []]), list("abcdefg"))
    assert result == {
        **{"pictures": 0, "left_out": 3, "scores": {}, "class_top1_error": dict.fromkeys("abcdefg")}
    }


def test_confusion_by_hand():
    outcomes = judge(
        scores_of([[2, 1, 0], [0, 1, 2], [0, 1, 2], [0, 2, 1], [2, 0, 0]]), [[0], [0], [0], [2], []]
    )
    assert confusion(outcomes, 3).tolist() == [[1, 0, 2], [0, 0, 0], [0, 1, 0]]


def test_loss_is_the_mean_cross_entropy_in_nats():
    # Equal logits of two classes: -ln 1/2. Logits 0 and ln 3 with label 1: -ln 3/4.
    outcomes = judge(scores_of([[0, 0], [0, math.log(3)]]), [[0], [1]])
    assert summarise(outcomes, ["a", "b"])["scores"]["loss"] == pytest.approx(
        (math.log(2) - math.log(0.75)) / 2
    )


@pytest.mark.parametrize("logit", [NAN, math.inf])
def test_a_loss_that_is_no_number_is_none(logit):
    # result.json and metrics.jsonl take it as it is, and JSON has neither NaN nor infinity.
    outcomes = judge(scores_of([[logit, 0.0], [1.0, 2.0]]), [[1], [1]])
    assert summarise(outcomes, ["a", "b"])["scores"] == {"top1_error": 50.0, "loss": None}


@pytest.mark.parametrize("cuts", [[50], [20, 30], [1, 0, 48, 1]])
def test_any_parts_give_the_whole_to_the_last_bit(cuts):
    torch.manual_seed(0)
    scores, truth = torch.randn(50, 8).log_softmax(1), [[i % 8] for i in range(50)]
    ends = [sum(cuts[: i + 1]) for i in range(len(cuts))]
    parts = [judge(scores[end - n : end], truth[end - n : end]) for end, n in zip(ends, cuts, strict=True)]
    names = list("abcdefgh")
    assert summarise(join(parts), names) == summarise(judge(scores, truth), names)


def test_equals_topk_where_nothing_ties():
    torch.manual_seed(1)
    scores, labels = torch.randn(500, 20), torch.randint(0, 20, (500,))
    found = scores.topk(5).indices == labels[:, None]
    outcomes = judge(scores, [[label] for label in labels.tolist()])
    assert torch.equal(outcomes.top1, found[:, 0]) and torch.equal(outcomes.top5, found.any(1))


@pytest.mark.parametrize(
    "scores",
    [
        [0, 0, 0, 0, 0, 0, 0],  # a network that says nothing
        [NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, 0, 0, 0, 0, 0, 0],  # the label's own
        [9, NAN, NAN, NAN, NAN, NAN, NAN],  # nothing is beaten by comparison with NaN
        [1, 1, 1, 1, 1, 1, 0],  # six share the highest
    ],
)
def test_ties_and_nan_count_as_wrong(scores):
    outcomes = judge(torch.tensor([scores], dtype=torch.float32), [[0]])
    assert (outcomes.top1.tolist(), outcomes.top5.tolist()) == ([False], [False])


@pytest.mark.parametrize("scores", [[1, 1, 1, 1, 1, 0], [9, NAN, 0, 0, 0, 0]])
def test_tie_among_five_is_wrong_at_top_1_and_right_at_top_5(scores):
    outcomes = judge(torch.tensor([scores], dtype=torch.float32), [[0]])
    assert (outcomes.top1.tolist(), outcomes.top5.tolist()) == ([False], [True])


@pytest.mark.parametrize(("num_classes", "reported"), [(2, False), (5, False), (6, True)])
def test_top_5_is_left_out_where_it_cannot_be_wrong(num_classes, reported):
    outcomes = judge(torch.zeros(1, num_classes), [[0]])
    assert outcomes.best.shape == (1, min(5, num_classes))
    scores = summarise(outcomes, [str(i) for i in range(num_classes)])["scores"]
    assert ("top5_error" in scores) == reported
    assert scores["top1_error"] == 100


def test_nothing_counted_is_an_error():
    with pytest.raises(ValueError, match="no picture was evaluated"):
        join([])
