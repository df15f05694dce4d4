"""What there is to say of an analysis: a folder of tools/analyze.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation.errors import UserError, plural
from reporting import run_facts
from reporting.page.embedded_pictures import gallery
from reporting.page.page_parts import Code, Note, Part, Section, Story, Table

TITLES = {
    "responses": "standard deviations of layer responses (He et al. 2015, Figure 7)",
    "signal": "what shortcuts and residuals carry (He et al. 2016)",
    "lesion": "errors without blocks (Veit et al. 2016)",
    "paths": "gradients along paths of each length (Veit et al. 2016)",
    "gradients": "autocorrelation of gradients (Balduzzi et al. 2017)",
    "similarity": "how alike layers are, by linear CKA (Kornblith et al. 2019)",
    "surface": "the loss around the weights (Li et al. 2018)",
    "receptive": "theoretical and effective receptive fields (Luo et al. 2016)",
    "heatmap": "what speaks for the answers (Selvaraju et al. 2017)",
}
MEASURED = {"similarity": "comparison"}  # what an entry of its result is of, unless of a network


def is_analysis(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/analyze.py."""
    return result is not None and "analysis" in result


def tell_analysis(folder: Path, name: str, resamples: int) -> tuple[Story, None]:
    """The story of an analysis.

    Raises:
        UserError: its result is damaged.
    """
    result = run_facts.read_result(folder)
    if result is None or not isinstance(result.get("networks"), dict):
        raise UserError(f"{folder / 'result.json'} names no networks; make it anew with tools/analyze.py")
    kind, networks = str(result["analysis"]), result["networks"]
    title = TITLES.get(kind, kind)
    rows = [("Analysis", title)]
    rows += [
        (section.capitalize(), _text(result[section])) for section in ("data", "options") if section in result
    ]
    rows += run_facts.when(folder)
    rows += [
        (label, f"{of['weights']}, SHA-256 {of.get('sha256', '')}")
        for label, of in networks.items()
        if "weights" in of
    ]
    figure = folder / f"{kind}.png"
    shown: list[Part] = (
        [*gallery([figure], wide=True, plot=True)]
        if figure.is_file()
        else [Note(f"There is no {figure.name} in the folder; the command below makes it.")]
    )
    sections = [
        run_facts.facts(rows),
        Section("Figure", shown),
        *_merits(networks),
        *([Section("Repeat it", [Code(str(result["command"]))])] if "command" in result else []),
    ]
    return Story(
        name,
        f"analysis of {plural(len(networks), MEASURED.get(kind, 'network'))}",
        f"{kind.capitalize()}: {title}",
        sections,
    ), None


def _merits(networks: Mapping[str, Any]) -> list[Section]:
    """The figures of merit: plain ones of all networks in a table, those in lists a table each."""
    plain: dict[str, dict[str, str]] = {}
    sections = []
    for label, found in networks.items():
        for key, value in found.items():
            if key in ("weights", "sha256"):
                continue
            if isinstance(value, list) and value and isinstance(value[0], dict):
                sections.append(Section(f"{label}: {_words(key)}", [_of_dicts(value)]))
            else:
                plain.setdefault(key, {})[label] = _text(value)
    heading = ["", *networks]
    rows = [[_words(key), *(values.get(label, "") for label in networks)] for key, values in plain.items()]
    return [*([Section("Figures", [Table(heading, rows)])] if rows else []), *sections]


def _of_dicts(entries: list[dict[str, Any]]) -> Table:
    keys = dict.fromkeys(key for entry in entries for key in entry)
    rows = [[_text(entry.get(key)) for key in keys] for entry in entries]
    return Table([_words(key) for key in keys], rows, tall=True)


def _words(key: str) -> str:
    return str(key).replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {_text(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " / ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
