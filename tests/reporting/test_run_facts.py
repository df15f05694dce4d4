"""What a run folder tells of itself, and the command that repeats it."""

import hashlib
import importlib.util
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from foundation.errors import UserError
from reporting.page.page_parts import Code, Section
from reporting.run_facts import (
    appendix,
    evaluated_config,
    read_result,
    recipe,
    repeat,
    steps,
    weights,
    when,
    where,
)
from training.config import dump_config, load_config


def code(section: Section) -> str:
    (found,) = [part.text for part in section.parts if isinstance(part, Code)]
    return found


@pytest.mark.parametrize("tool, schema", [("pretrain", PretrainConfig), ("train_det", DetectionConfig)])
def test_the_command_trains_the_same_configuration(
    tool: str,
    schema: type,
    root: Path,
    classifier_run: Callable[..., Path],
    detector_run: Callable[..., Path],
):
    name = "it's mine"  # the shell must get it as one word
    run = classifier_run(name) if tool == "pretrain" else detector_run(name, 0.0)
    python, script, *arguments = shlex.split(code(repeat(tool, run)))
    assert (python, script) == ("python", f"tools/{tool}.py")
    spec = importlib.util.spec_from_file_location(tool, root / script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = module.parser().parse_intermixed_args(arguments)
    again = load_config(schema, given.config, given.overrides)
    assert (
        again == load_config(schema, run / "config.yaml")
        and dump_config(again) == (run / "config.yaml").read_text()
    )
    assert given.out == run.with_name(f"{name}_again") and not given.out.exists()


def test_dates_and_device_are_those_of_the_log(classifier_run: Callable[..., Path]):
    run = classifier_run("mine")
    config = load_config(PretrainConfig, run / "config.yaml")
    for file in ("config.yaml", "result.json"):
        os.utime(run / file, (0, 1_700_000_000))
    began, ended = when(run)
    assert began[1].startswith("2023-11-1") and began[1].endswith(", by the date of config.yaml")
    assert ended[1].endswith(", by the date of result.json")
    assert "the folder does not say which it was" in where(run, config)[0][1]
    (run / "log.txt").write_text(
        "2026-01-02 03:04:05 11.18 M parameters to train, 0.00 M fixed; 2 x cuda, bf16; learning rate 0.02\n"
        "2026-01-02 03:04:05 residual-backbones 0.1.0, torch 2.9.1, Python 3.12.1\nodd line\n"
        "2026-01-02 05:06:07 step 40/40\n"
    )
    assert when(run) == [("Began", "2026-01-02 03:04:05"), ("Last word", "2026-01-02 05:06:07")]
    assert dict(where(run, config)) == {
        "Device": "2 x cuda, bf16",
        "Versions": "residual-backbones 0.1.0, torch 2.9.1, Python 3.12.1",
    }
    configuration, log = appendix(run, config)
    assert configuration.folded and code(configuration) == (run / "config.yaml").read_text()
    assert log.folded and code(log).endswith("step 40/40")


def test_recipe_in_words(classifier_run: Callable[..., Path]):
    def words(*overrides: str) -> str:
        run = classifier_run("_".join(overrides) or "plain", *overrides)
        return dict(recipe(load_config(PretrainConfig, run / "config.yaml")))["Recipe"]

    assert "; constant; momentum 0.9, weight decay 0.0001" in words()
    assert "; times 0.1 after 20, 30 steps; linear warm-up of 5 steps" in words(
        "schedule.milestones=[20,30]", "schedule.warmup_steps=5"
    )
    assert "; cosine to zero;" in words("schedule.kind=cosine")
    assert "where the error stands still" in words("schedule.kind=plateau", "run.eval_every=10")


def test_weights_have_digests(tmp_path: Path):
    (tmp_path / "last.safetensors").write_bytes(b"x" * 2000)
    digest = hashlib.sha256(b"x" * 2000).hexdigest()
    files = [tmp_path / "last.safetensors", tmp_path / "best.safetensors"]
    assert weights(files) == [("last.safetensors", f"2 kB, SHA-256 {digest}")]


def test_results(tmp_path: Path):
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(UserError, match="holds no result of this toolkit; remove it"):
        read_result(tmp_path)
    assert (
        steps({"step": 1000, "best": {"step": 5}})[1] == "after step 1,000; the best evaluation was at step 5"
    )
    assert steps({})[1] == "of the last evaluation"


def test_the_configuration_of_an_evaluation(tmp_path: Path):
    assert evaluated_config(DetectionConfig, tmp_path, {"weights": "w"}) is None
    found = evaluated_config(DetectionConfig, tmp_path, {"config": {"optim": {"lr": 0.5}}})
    assert found is not None and found.optim.lr == 0.5
    with pytest.raises(UserError, match=r"result.json: config:\n.*optim.rate: unknown key"):
        evaluated_config(DetectionConfig, tmp_path, {"config": {"optim": {"rate": 0.5}}})
