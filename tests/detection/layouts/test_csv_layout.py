from pathlib import Path

import pytest

from detection.layouts.csv_layout import read_csv
from detection.layouts.drawn_objects import DrawnPicture
from foundation.errors import UserError

HEADER = "file,xmin,ymin,xmax,ymax,label\n"


@pytest.fixture
def read(tmp_path: Path):
    """Reads a table of this text."""

    def of(text: str, classes: list[str] | None = None) -> list[DrawnPicture]:
        (tmp_path / "a.csv").write_bytes(text.encode())
        return read_csv(tmp_path / "a.csv", classes)

    return of


def boxes(pictures: list[DrawnPicture]) -> dict[str, list[tuple]]:
    return {p.file_name: [(found.label, *found.box) for found in p.objects] for p in pictures}


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "a.jpg,1,2,30,40.5,cat\nb.jpg,,,,,\na.jpg,3,4,5,6,dog\n",
        "a.jpg,1,2,30,40.5,cat\nb.jpg,,,,,\na.jpg,3,4,5,6,dog\n",  # keras-retinanet
        "b.jpg,,,,,\na.jpg,1,2,30,40.5,cat\na.jpg,3,4,5,6,dog",
        "\ufefffilename;width;height;class;xmin;ymin;xmax;ymax\r\na.jpg;64;48;cat;1;2;30;40.5\r\n"
        "b.jpg;64;48;;;;;\r\n\r\na.jpg;64;48;dog;3;4;5;6\r\n",  # TensorFlow, saved by a spreadsheet
        "label_name\tbbox_x\tbbox_y\tbbox_width\tbbox_height\timage_name\timage_width\timage_height\n"
        "cat\t1\t2\t29\t38.5\ta.jpg\t64\t48\n\t\t\t\t\tb.jpg\t64\t48\n"
        "dog\t3\t4\t2\t2\ta.jpg\t64\t48\n",  # makesense
        'Image Path,x,y,width,height,Class\n"a.jpg", 1, 2, 29, 38.5, cat\nb.jpg,,,,,\na.jpg,3,4,2,2,dog\n',
    ],
)
def test_the_tables_of_every_tool_give_the_same_boxes(read, text: str):
    assert boxes(read(text)) == {"a.jpg": [("cat", 1, 2, 30, 40.5), ("dog", 3, 4, 5, 6)], "b.jpg": []}


def test_sizes_of_pictures_and_places_in_the_file_are_kept(read, tmp_path: Path):
    (picture,) = read("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,1,2,3,4\n")
    assert picture.size == (48, 64)
    assert picture.objects[0].where == f"{tmp_path / 'a.csv'}: line 2"
    assert picture.objects[0].segmentation is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column for file, label, xmin, ymin, xmax, ymax"),
        ("file,x_center,y,w,h,label\n", "line 1: no column for xmin, ymin, xmax, ymax in 'file', 'x_center'"),
        (HEADER.replace("label", "file"), "two columns are called 'file'"),
        (HEADER + "a.jpg,1,2,3,4\n", "line 2: 5 fields, expected 6"),
        (HEADER + "\n,1,2,3,4,cat\n", "line 3: the name of the picture is ''"),
        (HEADER + 'a.jpg,"1,5",2,3,4,cat\n', "line 2: the box is 1,5, 2, 3, 4, expected four numbers"),
        (HEADER + "a.jpg,nan,2,3,4,cat\n", "the box is nan, 2, 3, 4"),
        (HEADER + "a.jpg,,2,3,4,cat\n", "the box is , 2, 3, 4"),
        (HEADER + "a.jpg,5,2,3,4,cat\n", "the box from 5, 2 to 3, 4 (x, y) ends before it begins"),
        (HEADER + "a.jpg,1,2,3,4,\n", "line 2: the class is ''"),
        (HEADER + "a.jpg,0.1,0.2,0.3,0.4,cat\nb.jpg,0,0,1,1,cat\n", "line 2: no box reaches beyond 1"),
        (HEADER + '"a.jpg,1,2,3,4,cat\n', "line 2: unexpected end of data"),
        ("image,id,label,annotator\nx,1,[{}],1\n", "Label Studio's CSV has its boxes as JSON"),
        ("# Exported using VGG Image Annotator (http://…)\n", "VIA 3 writes other tables"),
        ("file,w,h,width,height,x,y,label\na.jpg,2,2,0,48,1,1,cat\n", "picture are '48' and '0'"),
        (
            "file,width,height,xmin,ymin,xmax,ymax,label\na.jpg,64,48,1,2,3,4,cat\na.jpg,60,48,1,2,3,4,cat\n",
            "line 3: the size of a.jpg is (48, 60), and (48, 64) in a row before",
        ),
    ],
)  # fmt: skip
def test_what_is_no_table_of_boxes_is_refused_with_its_line(read, text: str, message: str):
    with pytest.raises(UserError) as refused:
        read(text)
    assert message in str(refused.value) and "a.csv" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


VIA = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    'a.jpg,100,"{}",2,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":29,""height"":38}","{""class"":""cat""}"\n'
    'a.jpg,100,"{}",2,1,"{""name"":""polygon"",""all_points_x"":[3,5,5],""all_points_y"":[4,4,6]}",'
    '"{""class"":""dog""}"\nb.jpg,100,"{}",0,0,"{}","{}"\n'
)


def test_the_tables_of_via(read):
    found = read(VIA)
    assert boxes(found) == {"a.jpg": [("cat", 1, 2, 30, 40), ("dog", 3, 4, 5, 6)], "b.jpg": []}
    assert found[0].objects[1].segmentation == [[3, 4, 5, 4, 5, 6]]
    assert boxes(read("#" + VIA)) == boxes(found)  # as VIA 1 begins its header


def test_a_cell_of_via_without_json_is_refused(read):
    with pytest.raises(UserError, match=r"a\.csv: line 2: .*expected JSON in the cells"):
        read(VIA.replace('"{""name"":""rect"",', '"{name,', 1))
    with pytest.raises(UserError, match="line 5: 2 fields, expected a picture's name"):
        read(VIA + "c.jpg,1\n")
