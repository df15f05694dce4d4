"""Tables of experiments, whose derived columns are worked by hand."""

from pydantic import TypeAdapter

from reproduction.results.experiments import Difference, Experiment, place, signed


def test_the_table_by_hand(content: dict):
    experiment = TypeAdapter(Experiment).validate_python(content)
    # 1000 and 1600 steps are 2.5 and 4 epochs of 400. Of 20, 30, 40 the mean is 30, the variance 200 / 2;
    # 60 less 30 is 30. 28.5 - 30 is -1.50, which the measured -1.51 agrees with to a rounding.
    assert experiment.markdown().splitlines() == [
        "| network | steps | epochs | AP | less the first | AP50 | AP50 less AP |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| one | 1,000 | 2.5 | **30.00 ± 10.00** |  | 60.0 | +30.0 |",
        "| two | 1,600 | 4.0 | 28.50 ± 2.25 | −1.51 (−3.00 to +0.50) | not run |  |",
    ]


def test_the_lowest_may_be_the_best(content: dict):
    content["columns"][3]["best"] = "lowest"
    lines = TypeAdapter(Experiment).validate_python(content).markdown().splitlines()
    assert "| 30.00 ± 10.00 |" in lines[2] and "| **28.50 ± 2.25** |" in lines[3]


def test_less_the_row_before(content: dict):
    content["columns"][4]["less"] = "row before"
    rows = content["rows"]
    rows[1]["less_the_row_before"] = rows[1].pop("less_the_first_row")
    third = {"value": 1, "low": 0, "high": 2}
    rows.append({"labels": {"network": "three"}, "scores": {"AP": {"values": [29.5]}}})
    rows[2]["less_the_row_before"] = {"AP": third}
    assert (
        TypeAdapter(Experiment)
        .validate_python(content)
        .markdown()
        .endswith("| three | not run | not run | 29.50 | +1.00 (+0.00 to +2.00) | not run |  |")
    )


def test_a_row_between_two_others(content: dict):
    third = {"AP": {"value": -1.5, "low": -3, "high": 0.5}}
    content["rows"].append(
        {"labels": {"network": "two less one"}, "between": ["two", "one"], "differences": third}
    )
    experiment = TypeAdapter(Experiment).validate_python(content)
    assert experiment.markdown().splitlines()[-1] == (
        "| two less one |  |  | −1.50 (−3.00 to +0.50) |  |  |  |"
    )
    assert ("two less one", "AP") not in experiment.means


def test_a_difference_with_and_without_an_interval():
    assert Difference(0.5, -0.25, 1.0).cell(2) == "+0.50 (−0.25 to +1.00)"
    assert Difference(-0.5, None, None).cell(1) == "−0.5"


def test_conditions(content: dict):
    experiment = TypeAdapter(Experiment).validate_python(content)
    assert experiment.conditions == "Machine: two cores; torch 2.14.1; seeds 0, 1, 2; 1,600 steps."
    content |= {"seeds": [0], "steps": None}
    experiment = TypeAdapter(Experiment).validate_python(content)
    assert experiment.conditions == "Machine: two cores; torch 2.14.1; seed 0."
    assert place(None, None) == "Machine: not known; torch of a release that is not known"


def test_means_are_found_by_labels_that_one_row_has(content: dict):
    content["rows"][1]["labels"]["steps"] = 1000
    means = TypeAdapter(Experiment).validate_python(content).means
    assert means == {("one", "AP"): 30, ("one", "AP50"): 60, ("two", "AP"): 28.5}


def test_signs_are_of_one_width():
    assert [signed(value, 1) for value in (1, -1, 0)] == ["+1.0", "−1.0", "+0.0"]
