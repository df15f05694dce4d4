import pytest

from detection.layouts.csv_columns import Columns, RegionColumns, find_columns
from foundation.errors import UserError


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("file,xmin,ymin,xmax,ymax,label", Columns(0, 5, (1, 2, 3, 4))),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", Columns(0, 3, (4, 5, 6, 7), size=(2, 1))),
        ("Class Name,image_path,X1,Y1,X2,Y2,score", Columns(1, 0, (2, 3, 4, 5))),
        ("image,x,y,width,height,label", Columns(0, 5, (1, 2, 3, 4), sized=True)),
        ("image,x,y,w,h,width,height,label", Columns(0, 7, (1, 2, 3, 4), sized=True, size=(6, 5))),
        ("a.jpg,1,2,3,4,cat", Columns(0, 5, (1, 2, 3, 4), header=False)),
        ("a.jpg,,,,,", Columns(0, 5, (1, 2, 3, 4), header=False)),
        ("#filename,region_shape_attributes,region_attributes", RegionColumns(0, 1, 2)),
    ],
)
def test_columns_are_found_by_the_names_of_every_tool(header: str, columns: Columns | RegionColumns):
    assert find_columns(header.split(","), "a.csv: line 1") == columns


def test_missing_columns_are_named():
    with pytest.raises(UserError) as refused:
        find_columns(["image", "xmin", "ymin", "xmax", "ymax"], "a.csv: line 1")
    assert str(refused.value).startswith("a.csv: line 1: no column for label in 'image', 'xmin'")
    with pytest.raises(UserError, match="two columns are called 'X1'; remove one of them"):
        find_columns(["file", "X1", "x1", "y1", "x2", "y2", "label"], "a.csv: line 1")
