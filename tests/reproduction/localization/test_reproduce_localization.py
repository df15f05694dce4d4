"""What the command for Tables 13 and 14 refuses, and the plan it prints; whole runs are in tests/pipeline."""

from pathlib import Path

import pytest

from foundation.errors import UserError
from reproduction.localization.reproduce_localization import reproduce_localization


def test_rows_of_predicted_classes_need_guesses(tmp_path: Path):
    for names in (["rcnn-top5"], ["rpn-dense", "ensemble"]):
        with pytest.raises(UserError, match=r"the classes are a classifier's guesses; give --guesses FILE"):
            reproduce_localization("13", tmp_path, names=names)
    with pytest.raises(UserError, match="ensemble: the classes are a classifier's guesses"):
        reproduce_localization("14", tmp_path)


def test_without_guesses_the_other_rows_are_planned(tmp_path: Path, capsys: pytest.CaptureFixture):
    reproduce_localization("13", tmp_path, seeds=1, dry_run=True)
    text = capsys.readouterr().out
    assert "rpn-1crop_seed0" in text and "rpn-dense_seed0" in text and "rcnn" not in text
    assert not list(tmp_path.iterdir())


def test_others_rows_are_not_run(tmp_path: Path):
    with pytest.raises(UserError, match="row 'vgg16' is not ours"):
        reproduce_localization("13", tmp_path, names=["vgg16"])


def test_options_that_do_nothing(tmp_path: Path):
    with pytest.raises(UserError, match="--only-report runs nothing"):
        reproduce_localization("13", tmp_path, only_report=True, overrides=["optim.lr=1"])
    with pytest.raises(UserError, match="--together 2: localization trains one after another"):
        reproduce_localization("13", tmp_path, together=2)
