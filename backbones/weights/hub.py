"""Our weight files on the Hugging Face hub, with a model card written from their header.

Nothing here uses the network until `push` or `pull` is called.
"""

import json
from pathlib import Path

from backbones.families import is_model
from backbones.weights.published import find_weights
from backbones.weights.weight_files import read_weights
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError

try:
    from huggingface_hub import CommitOperationAdd, HfApi, ModelCardData, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'residual-backbones[hub]'", name=error.name) from error

FILE_NAME = "model.safetensors"
# Besides what the hub answers, no connection, no token and no place in the cache.
_REFUSALS = (HTTPError, HFValidationError, EntryNotFoundError, OSError)


def push(
    weights: str | Path,
    repository: str,
    *,
    license: str | None = None,
    description: str = "",
    private: bool = False,
) -> str:
    """Uploads a weight file and its card, as one commit; the repository is made where there is none.

    A card that stands there is replaced. `hf auth login` comes first.

    Args:
        weights: file with our header; it becomes model.safetensors.
        repository: "owner/name"; private, where asked for, if it is new.
        license: of the weights, by the hub's identifier, for instance "apache-2.0".
        description: first paragraph of the card.
    Returns:
        Address of the commit.
    Raises:
        WeightsError: the file is broken or has no header, or the hub refuses or cannot be reached.
    """
    weights = find_weights(weights)
    _, header = read_weights(weights)
    if header is None:
        raise WeightsError(
            f"{weights} has no header, so that nobody could tell what it is; "
            "make it ours with tools/convert_weights.py"
        )
    card = model_card(header, repository, license=license, description=description)
    files = [CommitOperationAdd(FILE_NAME, str(weights)), CommitOperationAdd("README.md", card.encode())]
    try:
        hub = HfApi()
        hub.create_repo(repository, private=private, exist_ok=True)
        return hub.create_commit(repository, files, commit_message=f"Weights of {header.model}").commit_url
    except _REFUSALS as error:
        raise WeightsError(f"{weights} was not pushed to {repository}: {error}") from error


def pull(
    repository: str,
    *,
    file: str = FILE_NAME,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Downloads a weight file once; later calls answer from the cache.

    Args:
        revision: branch, tag or commit; a commit never changes under its user.
        cache_dir: in place of the hub's own cache.
    Returns:
        Its path, for `load_network` or as `weights` of any of our functions, which load it strictly.
    Raises:
        WeightsError: there is no such file, or the hub cannot be reached.
    """
    try:
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=cache_dir))
    except _REFUSALS as error:
        at = f" at {revision}" if revision else ""
        raise WeightsError(f"{file} of {repository}{at} was not pulled: {error}") from error


def model_card(
    header: WeightsHeader, repository: str, *, license: str | None = None, description: str = ""
) -> str:
    """The card of a weight file: metadata that the hub searches by, what the file needs, how to use it."""
    is_network, spec = is_model(header.model), header.input_spec
    data = ModelCardData(
        license=license,
        library_name="residual-backbones",
        pipeline_tag="image-classification" if is_network else "object-detection",
        tags=["residual-backbones", header.model, "arxiv:1512.03385"],
    )
    rows = {
        "network": header.model,
        "options": json.dumps(header.options),
        "pictures": f"{spec.order}, 0–{spec.range:g}, mean {list(spec.mean)}, deviation {list(spec.std)}",
        "epsilon of batch normalisation": f"{header.norm_eps:g}",
        "trained on": header.dataset or "not recorded",
        "classes": str(len(header.classes) or header.options.get("num_classes", "not recorded")),
        **{
            f"{metric} (validation)": f"{value:g}"
            for metric, value in header.score.items()
            if value is not None
        },
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {repository}",
        description or f"Weights of {header.model}, written by residual-backbones.",
        f"| what | value |\n|---|---|\n{table}",
        "## Use",
        _NETWORK_USE.format(repository) if is_network else _DETECTOR_USE.format(repository),
    ]
    if header.classes:
        sections += ["## Classes", ", ".join(header.classes)]
    if header.config:
        sections += ["## Configuration of the run", f"```json\n{json.dumps(header.config, indent=1)}\n```"]
    return "\n\n".join(sections) + "\n"


_NETWORK_USE = """```python
from backbones import load_network
from backbones.weights.hub import pull

network = load_network(pull("{0}")).eval()  # out_features=("res4", "res5") for feature maps
logits = network(network.input_spec.normalise(pictures))  # pictures: (N, 3, H, W) RGB, 0–255
```"""
_DETECTOR_USE = """```python
import detection
from backbones.weights.hub import pull

detector = detection.load(pull("{0}"))
print(detector("picture.jpg"))
```

`tools/predict.py PICTURES --weights FILE` draws what it finds."""
