"""Splits of ImageNet DET and CLS-LOC read for the doctor: lists, devkit and every annotation."""

from collections import Counter

from detection.data.voc_checks import VocAnnotation, read_annotation
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from doctor.findings import find
from doctor.survey import Survey, SurveyedObject, SurveyedPicture


def survey_imagenet(split: IlsvrcSplit) -> Survey:
    """What of a split can be used, and what is wrong with the rest; UserError where it has no list.

    Without the devkit's list of classes no annotation is read, since all of them would be at fault.
    """
    name = f"{split.kind}:{split.places.root}:{split.name}"
    survey = Survey(name, split.classes(), split.category_ids(), ignored="difficult")
    survey.findings = [find(p.check, p.where, p.text, "error") for p in split.problems()]
    wnids = split.names()
    for index, (image_id, count) in enumerate(Counter(split.image_ids()).items()):
        if count > 1:
            detail = f"stands several times in {split.list_file}"
            survey.findings.append(find("duplicate_image_id", image_id, detail))
        survey.image_ids.append(image_id)
        path = split.annotation_file(image_id)
        unread = split.is_secret() or not wnids
        read = VocAnnotation(None, [], []) if unread else split.read(image_id, wnids)
        survey.findings += [
            find(p.check, f"{image_id}.xml {p.where}" if p.where else path, p.text, "error")
            for p in read.problems
            if p.check != "turned_boxes"  # known when all pictures are, of whatever kind the set is
        ]
        if read.size is not None and path.is_file() and read_annotation(path, []).size is None:
            detail = "no size; that of its file is taken"
            survey.findings.append(find("missing_size", f"{image_id}.xml", detail))
        survey.pictures.append(SurveyedPicture(image_id, split.image_path(image_id), read.size))
        survey.objects += [
            SurveyedObject(f"{image_id}.xml object {o.number}", index, o.label - 1, o.box, o.difficult)
            for o in read.objects
        ]
    return survey
