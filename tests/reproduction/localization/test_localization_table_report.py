"""The report of Tables 13 and 14 from results on disk."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from detection.localization.localization_config import LocalizationConfig
from reproduction.localization.localization_table_report import localization_markdown, read_lines, record
from reproduction.localization.localization_tables import CONFIGS_OF, LOCALIZATION_TABLES
from reproduction.results.provenance import Made
from reproduction.results.run_records import Report, read_record
from reproduction.runs import CONFIGS
from training.config import load_config

TABLE = LOCALIZATION_TABLES["13"]
MADE = Made(None, None, None)


def write(folder: Path, overrides: list[str], **scores: float) -> None:
    config = load_config(LocalizationConfig, CONFIGS / f"{CONFIGS_OF['rpn']}.yaml", overrides)
    about: dict[str, Any] = {"config": json.loads(json.dumps(asdict(config)))}
    folder.mkdir(parents=True)
    scores |= {"whole_picture_error": 0.4}
    (folder / "result.json").write_text(json.dumps({"scores": scores, "pictures": 48238, "evaluated": about}))


def test_a_row_of_two_seeds_beside_the_paper(tmp_path: Path):
    write(tmp_path / "rpn-dense_seed0", ["testing.protocol=dense"], oracle_error=0.12)
    write(tmp_path / "rpn-dense_seed1", ["testing.protocol=dense", "run.seed=1"], oracle_error=0.13)
    lines = {line.row.key: line for line in read_lines(TABLE.rows, tmp_path)}
    dense = lines["rpn-dense"]
    assert dense.errors == pytest.approx([12, 13]) and dense.changed == []
    assert dense.difference == pytest.approx(0.8)
    text = localization_markdown(record("13", list(lines.values()), MADE))
    assert "| RPN, ResNet-101, true class, dense | 11.70 | 12.50 ± 0.71 | 2 | +0.80 | 40.00 |" in text
    assert "| VGG's, true class, 1-crop | 33.10 | not ours |" in text
    assert "| RPN, ResNet-101, true class, 1-crop | 13.30 | not run | 0 |" in text
    assert "Pictures that count: 48,238." in text and "Not comparable" not in text


def test_another_recipe_is_not_comparable(tmp_path: Path):
    write(tmp_path / "rpn-1crop_seed0", ["data.image_size=96", "optim.lr=0.1"], oracle_error=0.2)
    lines = read_lines(TABLE.rows, tmp_path)
    text = localization_markdown(record("13", lines, MADE))
    assert "(+6.70) not comparable" in text
    assert "`data.image_size` 96 instead of 224; `optim.lr` 0.1 instead of 0.01" in text


def test_the_record_holds_all_numbers(tmp_path: Path):
    write(tmp_path / "ensemble_seed0", [], oracle_error=0.1, top5_error=0.2)
    lines = read_lines(LOCALIZATION_TABLES["14"].rows, tmp_path)
    content = record("14", lines, MADE)
    rows = {row.key: row for row in content.rows}
    ours = rows["ensemble"]
    assert ours.errors == [20] and ours.difference == pytest.approx(11.1)
    assert ours.elsewhere == {"test": {"value": 9.0, "deviation": None, "best": None, "median": False}}
    file = tmp_path / "table14.json"
    file.write_text(json.dumps(asdict(content)))
    found = read_record(file)
    assert isinstance(found, Report) and found.content == content
    assert rows["googlenet"].paper is None and not rows["googlenet"].ours
