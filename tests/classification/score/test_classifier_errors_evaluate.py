from dataclasses import replace

import pytest
import torch
from torch import nn

from classification.data.labelled_batches import Batch
from classification.score import classifier_errors as module
from classification.score.classifier_errors import evaluate, predict

CLASSES = list("abcdefg")


class Echo(nn.Module):
    """Gives its input as logits, in evaluation mode, and remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 7, bias=False)
        nn.init.eye_(self.linear.weight)
        self.dropout = nn.Dropout(1.0)
        self.seen = []

    def forward(self, x):
        logits = self.dropout(self.linear(x))
        self.seen.append((self.training, logits.dtype, torch.is_grad_enabled()))
        return logits


def batches(answers, labels, size=2):
    """Pictures whose pixels are the logits: 1 for the answer, 0 elsewhere."""
    images = nn.functional.one_hot(torch.tensor(answers), 7)
    return [
        Batch(images[i : i + size], torch.tensor(labels[i : i + size]), torch.zeros(size), ["x"] * size)
        for i in range(0, len(answers), size)
    ]


def run(model, data, **options):
    return evaluate(
        model,
        data,
        prepare=lambda batch: batch.images.float(),
        classes=CLASSES,
        device=torch.device("cpu"),
        **options,
    )


def test_five_pictures_by_hand():
    # Right, wrong, right, wrong, right; of class a 1 of 2 wrong, of b 1 of 2, of g 0 of 1.
    # A wrong answer leaves the label tied with five others, so not among five either.
    # Loss: ln(e + 6), less 1 where right.
    result = run(Echo(), batches([0, 1, 1, 0, 6], [0, 0, 1, 1, 6]))
    assert result["pictures"] == 5
    assert result["scores"]["top1_error"] == pytest.approx(40)
    assert result["scores"]["top5_error"] == pytest.approx(40)
    loss = torch.log(torch.tensor(1.0).exp() + 6).item()
    assert result["scores"]["loss"] == pytest.approx(loss - 3 / 5, rel=1e-6)
    assert result["class_top1_error"] == {"a": 50, "b": 50, "g": 0, **dict.fromkeys("cdef")}


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_in_its_mode_but_is_evaluated_in_evaluation_mode(training):
    model = Echo().train(training)
    result = run(model, batches([3], [3]))
    assert [mode for mode, _, _ in model.seen] == [False]
    assert result["scores"]["top1_error"] == 0, "dropout must be off"
    assert [part.training for part in model.modules()] == [training] * 3


def test_no_graph_is_built():
    model = Echo()
    run(model, batches([3], [3]))
    assert model.seen[0][2] is False


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision(precision, dtype):
    model = Echo()
    run(model, batches([3], [3]), precision=precision)
    assert model.seen[0][1] == dtype


def test_processes_are_added_up(monkeypatch):
    # The other process found nothing but errors, in as many pictures of class a.
    def gather(parts):
        return [parts, [replace(part, top1=torch.zeros_like(part.top1)) for part in parts]]

    monkeypatch.setattr(module, "gather_objects", gather)
    result = run(Echo(), batches([0, 0], [0, 0]))
    assert result["pictures"] == 4
    assert result["scores"]["top1_error"] == 50


def test_a_process_without_pictures_adds_nothing(monkeypatch):
    other = module.judge(torch.eye(7)[:1], [[0]])
    monkeypatch.setattr(module, "gather_objects", lambda parts: [parts, [other]])
    assert run(Echo(), [])["pictures"] == 1


def test_predictions_come_with_the_names_of_their_pictures():
    model = Echo()
    score = lambda batch: model(batch.images.float())  # noqa: E731
    found = list(predict(model, batches([0, 1, 1], [0, 0, 1]), score, device=torch.device("cpu")))
    assert [ids for ids, _, _ in found] == [["x"] * 2, ["x"] * 2]
    assert torch.cat([labels for _, labels, _ in found]).tolist() == [0, 0, 1]
    scores = torch.cat([scores for _, _, scores in found])
    assert torch.allclose(scores.exp().sum(1), torch.ones(3)) and scores.argmax(1).tolist() == [0, 1, 1]


def test_a_caller_that_stops_early_gets_its_model_back_in_its_mode():
    model = Echo().train()
    score = lambda batch: model(batch.images.float())  # noqa: E731
    found = predict(model, batches([0, 1, 1], [0, 0, 1]), score, device=torch.device("cpu"))
    next(found)
    assert not model.training
    found.close()
    assert model.training
