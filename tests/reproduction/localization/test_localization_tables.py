"""Tables 13 and 14 as data."""

from pathlib import Path

from detection.localization.localization_config import LocalizationConfig
from reproduction.localization.localization_tables import CONFIGS_OF, LOCALIZATION_TABLES
from reproduction.runs import CONFIGS
from training.config import load_config


def test_what_is_printed():
    printed = {row.key: row.printed.value for row in LOCALIZATION_TABLES["13"].rows if row.printed}
    assert list(printed.values()) == [33.1, 13.3, 11.7, 14.4, 10.6, 8.9]
    test = {row.key: row.elsewhere["test"].value for row in LOCALIZATION_TABLES["14"].rows}
    assert test == {"overfeat": 29.9, "googlenet": 26.7, "vgg": 25.3, "ensemble": 9.0}


def test_the_rows_that_need_a_classifier():
    rows = LOCALIZATION_TABLES["13"].rows
    assert [row.key for row in rows if row.needs_guesses] == ["rpn-top5", "rcnn-top5", "ensemble"]
    assert [row.key for row in rows if row.config is None] == ["vgg16"]


def test_the_configurations_train_the_networks_they_are_named_for():
    for step, name in CONFIGS_OF.items():
        assert load_config(LocalizationConfig, Path(CONFIGS / f"{name}.yaml")).step == step
