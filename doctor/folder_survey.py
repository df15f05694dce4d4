"""Class folders as ImageNet's, DIR/<class>/<picture> or DIR/<split>/<class>/<picture>."""

from pathlib import Path

from detection.data.picture_folder import SUFFIXES
from doctor.findings import find
from doctor.survey import Picture, Survey
from foundation.errors import UserError

ALL_SUFFIXES = SUFFIXES | {".ppm", ".pgm"}  # what pretraining reads


def survey_folders(folder: Path) -> list[Survey]:
    """One survey for each split below `folder`, or one where it holds the classes itself.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected folder:DIR with DIR/<split>/<class>/<picture>")
    splits = [child for child in _subfolders(folder) if _subfolders(child)]
    if not splits:
        return [_survey_split(folder)]
    surveys = [_survey_split(split) for split in splits]
    for survey in surveys[1:]:
        if survey.classes != surveys[0].classes:
            differing = sorted(set(survey.classes) ^ set(surveys[0].classes))
            detail = f"not the classes of {splits[0].name}: {', '.join(differing[:5])}"
            survey.findings.append(find("different_classes", survey.name, detail))
    return surveys


def _survey_split(folder: Path) -> Survey:
    classes = _subfolders(folder)
    survey = Survey(f"folder:{folder}", [path.name for path in classes], annotated=False)
    if not classes:
        detail = "holds no class folders; pictures belong into one folder per class"
        survey.findings.append(find("no_class_folders", folder, detail))
    for path in classes:
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in ALL_SUFFIXES and p.name[0] != ".")
        if not pictures:
            detail = f"holds no picture ({', '.join(sorted(ALL_SUFFIXES))}); fill it or remove it"
            survey.findings.append(find("empty_class_folder", path, detail))
        survey.pictures += [Picture(f"{path.name}/{p.name}", p, None) for p in pictures]
    return survey


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
