"""Tables 1 and 2 of He et al. 2016, typed a second time, and the networks that their rows train."""

from reproduction.published.identity_tables import IDENTITY_TABLES
from reproduction.runs import row_config


def test_table_1_of_2016():
    # Above 20 % the paper prints "fail".
    assert {
        row.label: tuple(p.value for p in row.scores.values()) for row in IDENTITY_TABLES["identity1"].rows
    } == {
        "original": (6.61,),
        "constant scaling, shortcut 0, F 1": (),
        "constant scaling, shortcut 0.5, F 1": (),
        "constant scaling, shortcut 0.5, F 0.5": (12.35,),
        "exclusive gating, initial bias 0 (so to −5)": (),
        "exclusive gating, initial bias -6": (8.70,),
        "exclusive gating, initial bias -7": (9.81,),
        "shortcut-only gating, initial bias 0": (12.86,),
        "shortcut-only gating, initial bias -6": (6.91,),
        "1×1 convolution on the shortcut": (12.22,),
        "dropout 0.5 on the shortcut": (),
    }
    of = {row.option: row_config(row).model for row in IDENTITY_TABLES["identity1"].rows}
    assert {option for option, model in of.items() if model.unit == "original"} == {"original", "convolution"}
    assert of["scaled-0-1"].scaling == (0, 1) and of["scaled-0.5-0.5"].scaling == (0.5, 0.5)
    assert [of[f"exclusive-gating-{bias}"].gate_bias for bias in (0, 6, 7)] == [0, -6, -7]
    assert of["shortcut-only-gating-0"].unit == "shortcut_only_gating" and of["convolution"].shortcut == "C"


def test_table_2_of_2016():
    columns = {110: (6.61, 8.17, 7.84, 6.71, 6.37), 164: (5.93, 6.50, 6.14, 5.91, 5.46)}
    rows = IDENTITY_TABLES["identity2"].rows
    found = {depth: [row for row in rows if str(depth) in row.label] for depth in columns}
    for depth, errors in columns.items():
        assert tuple(row.scores["top1_error"].value for row in found[depth]) == errors
        assert all(row.scores["top1_error"].median for row in found[depth])
        configs = [row_config(row) for row in found[depth]]
        assert [config.model.unit for config in configs] == [
            *("original", "bn_after_addition", "relu_before_addition", "relu_only_preactivation", "original")
        ]
        assert configs[-1].model.name == f"preact_resnet{depth}_cifar"
        # Appendix: 0.01 at the first 400 iterations of all.
        assert {(c.schedule.warmup, c.schedule.warmup_steps, c.schedule.warmup_factor) for c in configs} == {
            ("constant", 400, 0.1)
        }
    assert rows[0].key == IDENTITY_TABLES["identity1"].rows[0].key  # one training serves both tables
