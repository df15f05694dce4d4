"""Which trainings a table needs, which of them have ended, and their execution."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from classification.config import PretrainConfig
from classification.pretrain import pretrain, pretrain_together, refuse_shared
from foundation.errors import UserError, suggest
from foundation.file_reading import read_text
from reproduction.curves import training_pictures
from reproduction.published.table_rows import Row
from training.config import complete_config, differences, dump_config, load_config
from training.run_folder import FREE_KEYS, last_checkpoint
from training.schedule import counts_epochs, in_steps

logger = logging.getLogger(__name__)
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
OURS_TO_SET = ("run.seed", "model.name", "data.kind")
_LAYERS = re.compile(r"\d+")  # in a network's name


State = Literal["complete", "begun", "missing"]


def state_of(folder: Path) -> State:
    """How far the run of a folder is."""
    if (folder / "result.json").is_file():
        return "complete"
    return "begun" if (folder / "config.yaml").is_file() else "missing"


@dataclass(frozen=True)
class Run:
    """One training of a row."""

    row: Row
    seed: int
    config: PretrainConfig
    folder: Path

    @property
    def state(self) -> State:
        """As its folder says."""
        return state_of(self.folder)

    def steps_to_go(self) -> int:
        """From its last checkpoint."""
        if self.state == "complete":
            return 0
        checkpoint = last_checkpoint(self.folder)
        return self.config.schedule.total_steps - (checkpoint["step"] if checkpoint else 0)


class NamedRow(Protocol):
    """What a row needs to be chosen by `--rows`, and its folders to be found."""

    @property
    def key(self) -> str: ...
    @property
    def config(self) -> str | None: ...


SomeRow = TypeVar("SomeRow", bound=NamedRow)


def choose_rows(rows: Sequence[SomeRow], names: Sequence[str]) -> list[SomeRow]:
    """The rows called so, in the order of the table; without names all that are trained here.

    Args:
        names: keys; "_cifar" may be left out, and capitals do not matter.
    Raises:
        UserError: no row is called so, or it is another's result.
    """
    short = {row.key: row.key.replace("_cifar", "").lower() for row in rows}
    known = {name: row for row in rows for name in (short[row.key], row.key.lower())}
    for name in names:
        row = known.get(name.lower())
        if row is None:
            ours = dict.fromkeys(short[row.key] for row in rows if row.config)
            raise UserError(f"no row is called {name!r}{suggest(name.lower(), ours)}")
        if row.config is None:
            raise UserError(f"row {name!r} is not ours: no file in configs/ trains it; leave it out")
    chosen = [known[name.lower()] for name in names]
    return [row for row in rows if row.config and (row in chosen or not names)]


def folders(row: NamedRow, out: Path) -> dict[int, Path]:
    """By seed, the run folders of a row below `out` that exist."""
    begin = f"{row.key}_seed"
    ends = {path.name.removeprefix(begin): path for path in out.glob(f"{begin}*") if path.is_dir()}
    return {int(seed): ends[seed] for seed in sorted(filter(str.isdecimal, ends), key=int)}


def plan_runs(
    rows: Sequence[Row],
    seeds: int,
    out: Path,
    overrides: Sequence[str],
    together: int = 1,
    depths: Sequence[str] = (),
) -> list[Run]:
    """The trainings of these rows with seeds 0 … seeds - 1: the first of each row, then the second of each.

    Args:
        together: trainings at once; with more than one all seeds of a row stand side by side.
        depths: see `other_depths`.
    Raises:
        UserError: fewer than one seed or training at once, a wrong override, a folder made with another
            configuration, or a training that cannot run beside others.
    """
    require_counts(seeds=seeds, together=together)
    for override in overrides:
        if override.partition("=")[0] in OURS_TO_SET:
            raise UserError(
                f"{override!r}: --rows and --seeds choose networks and seeds, data belong to the row; "
                "leave it out"
            )
    names = other_depths(rows, depths)
    order = [(row, seed) for seed in range(seeds) for row in rows]
    if together > 1:
        order.sort(key=lambda pair: rows.index(pair[0]))  # equal networks end at about the same time
    runs = []
    for row, seed in order:
        config = row_config(row, [*overrides, *names.get(row.key, []), f"run.seed={seed}"])
        runs.append(Run(row, seed, config, out / f"{row.key}_seed{seed}"))
        refuse_other(runs[-1].folder, config)
        if together > 1:
            refuse_shared(config)
    return runs


def other_depths(rows: Sequence[Row], depths: Sequence[str]) -> dict[str, list[str]]:
    """Overrides, by the rows' keys, that give networks other depths, so as to try a table in small.

    Args:
        depths: "110=20" takes 20 layers where a row has 110.
    Raises:
        UserError: a text of another form, or of a depth that no row has.
    """
    layers = {row.key: _LAYERS.findall(str(row.network))[0] for row in rows}
    changes: dict[str, str] = {}
    for text in depths:
        printed, _, ours = text.partition("=")
        if not ours.isdecimal() or printed not in layers.values():
            held = " or ".join(dict.fromkeys(layers.values()))
            raise UserError(
                f"--depth {text}: expected a number of layers of these rows ({held}) and the one to take, "
                f"for instance --depth {layers[rows[0].key]}=20"
            )
        changes[printed] = ours
    return {
        row.key: [f"model.name={_LAYERS.sub(changes[layers[row.key]], str(row.network), count=1)}"]
        for row in rows
        if layers[row.key] in changes
    }


def require_counts(**options: int) -> None:
    """Refuses options of a command, by their names, that are below 1."""
    for option, value in options.items():
        if value < 1:
            raise UserError(f"--{option} must be 1 or more, got {value}")


def row_config(row: Row, overrides: Sequence[str] = ()) -> PretrainConfig:
    """The configuration of `configs/` that trains a row, in steps."""
    config = load_config(PretrainConfig, CONFIGS / f"{row.config}.yaml", [*row.settings, *overrides])
    pictures = training_pictures(config)
    if counts_epochs(config) and pictures is None:
        raise UserError(
            "epochs need the number of training pictures, which is known of CIFAR-10 and of ImageNet under "
            "$DATA_ROOT alone; give steps (schedule.total_steps) instead"
        )
    return in_steps(config, lambda: pictures or 0)


def refuse_other(folder: Path, config: Any) -> None:
    """Refuses a folder with a run of another configuration before hours go into those ahead of it."""
    file = folder / "config.yaml"
    if not file.is_file():
        return
    text = read_text(file, "remove the folder to train anew")
    before = complete_config(type(config), text, source=str(file))
    differing = differences(before, dump_config(config))
    if changed := [line for line in differing if line.partition(":")[0] not in FREE_KEYS]:
        lines = "\n  ".join(changed)
        raise UserError(
            f"{folder} was made with another configuration:\n  {lines}\n"
            "give the old values, choose another --out, or render what is there with --only-report"
        )


def execute(runs: Sequence[Run], together: int = 1) -> None:
    """Trains, in this order, what has not ended; what has begun goes on from its checkpoint.

    Args:
        together: so many at once on one device; the next ones begin when all of these have ended.
    """
    waiting = [run for run in runs if run.state != "complete"]
    for start in range(0, len(waiting), together):
        chosen = waiting[start : start + together]
        names = ", ".join(run.folder.name for run in chosen)
        logger.info("%s: %d of %d runs to go", names, len(waiting) - start, len(waiting))
        if together == 1:
            (run,) = chosen
            pretrain(run.config, run.folder, resume=run.state == "begun")
        else:
            pretrain_together([(run.config, run.folder, run.state == "begun") for run in chosen])
