"""log.txt in a run folder: begun with the run, gone with it, continued with it, and told how it ended."""

import logging
from pathlib import Path

import pytest

from foundation.errors import UserError
from tests.training.conftest import small_config
from training.run_folder import open_run

logger = logging.getLogger("training.test")


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(folder: Path) -> list[str]:
    """Without the times."""
    return [line[21:] for line in (folder / "log.txt").read_text().splitlines()]


def test_begun_with_the_run_and_replaced_with_it(tmp_path: Path):
    for text, overwrite in (("first", False), ("second", True)):
        with open_run(tmp_path, small_config(2), overwrite=overwrite) as folder:
            logger.info("%s data", text)
            folder.begin(small_config(2))
            logger.info("%s run", text)
    assert lines(tmp_path) == ["second data", "second run"]


def test_continued_with_a_line_that_says_so(tmp_path: Path):
    with open_run(tmp_path, small_config(4)) as folder:
        folder.begin(small_config(4))
        logger.info("trained")
        folder.record(2, {"loss": 1.0})
        folder.save_checkpoint({"step": 2})
    with open_run(tmp_path, small_config(4), resume=True) as folder:
        folder.begin(small_config(4))
        logger.info("trained on")
    assert lines(tmp_path) == ["trained", f"{tmp_path}: continuing after step 2", "trained on"]


def test_it_ends_with_what_ended_the_run(tmp_path: Path):
    with pytest.raises(UserError), open_run(tmp_path, small_config(2)) as folder:
        folder.begin(small_config(2))
        raise UserError("the loss is not finite\nlower it")
    assert lines(tmp_path) == ["UserError: the loss is not finite", "lower it"]


def test_a_refused_run_leaves_the_log_as_it_is(tmp_path: Path):
    with open_run(tmp_path, small_config(2)) as folder:
        folder.begin(small_config(2))
        logger.info("trained")
    with pytest.raises(UserError), open_run(tmp_path, small_config(3)):
        pass
    logger.info("of nobody")
    assert lines(tmp_path) == ["trained"]


def test_scores_of_the_evaluations_so_far(tmp_path: Path):
    with open_run(tmp_path, small_config(2)) as folder:
        assert folder.scores_by_step() == {}
        folder.begin(small_config(2))
        folder.record(2, {"loss": 1.0, "lr": 0.5})
        folder.record(2, {"val/AP": 0.5, "val/segm/AP": None})
        folder.record(4, {"val/AP": 0.6})
        assert folder.scores_by_step() == {2: {"AP": 0.5, "segm/AP": None}, 4: {"AP": 0.6}}
