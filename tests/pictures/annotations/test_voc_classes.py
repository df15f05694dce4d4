from pictures.annotations.voc_classes import VOC_CLASSES


def test_twenty_in_the_order_of_their_labels():
    assert len(set(VOC_CLASSES)) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)
    assert (VOC_CLASSES[0], VOC_CLASSES[14]) == ("aeroplane", "person")  # labels 1 and 15
