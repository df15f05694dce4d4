"""A record of an experiment, to be changed."""

import pytest


@pytest.fixture
def content() -> dict:
    """Two networks, the second compared with the first; of one only mean and deviation are known."""
    return {
        "commands": ["python tools/pretrain.py --out runs/one", "python tools/pretrain.py --out runs/two"],
        "machine": "two cores",
        "torch": "2.14.1",
        "seeds": [0, 1, 2],
        "steps": 1600,
        "columns": [
            {"heading": "network", "of": "network"},
            {"heading": "steps", "of": "steps"},
            {"heading": "epochs", "of": "steps", "divided_by": 400},
            {"heading": "AP", "of": "AP", "digits": 2, "best": "highest"},
            {"heading": "less the first", "of": "AP", "less": "first row", "digits": 2},
            {"heading": "AP50", "of": "AP50"},
            {"heading": "AP50 less AP", "of": "AP50", "less": "AP"},
        ],
        "rows": [
            {
                "labels": {"network": "one", "steps": 1000},
                "scores": {"AP": {"values": [20, 30, 40]}, "AP50": {"values": [60]}},
            },
            {
                "labels": {"network": "two", "steps": 1600},
                "scores": {"AP": {"mean": 28.5, "deviation": 2.25, "n": 3}},
                "less_the_first_row": {"AP": {"value": -1.51, "low": -3, "high": 0.5}},
            },
        ],
    }
