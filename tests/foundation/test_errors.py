import pytest

from foundation.errors import OptionError, UserError, check_choice, first_difference, plural, suggest


def test_check_choice_names_the_closest_or_all():
    with pytest.raises(OptionError, match="^unknown fruit 'aple'; did you mean 'apple'\\?$"):
        check_choice("fruit", "aple", ["apple", "pear"])
    with pytest.raises(OptionError, match="^unknown fruit 7; choose from apple, pear$"):
        check_choice("fruit", 7, ["apple", "pear"])
    assert OptionError.exit_status == 2


def test_suggestions():
    assert suggest("resnet5", ["resnet50", "vgg16"]) == "; did you mean 'resnet50'?"
    assert suggest("zzz", iter(["apple", "pear"])) == "; choose from apple, pear"


def test_counts():
    assert [plural(n, "picture") for n in (1, 0, 12_000)] == ["1 picture", "0 pictures", "12,000 pictures"]
    assert plural(2, "class", "classes") == "2 classes"


def test_user_errors_are_value_errors_with_an_exit_status():
    with pytest.raises(ValueError, match="unknown fruit") as caught:
        check_choice("fruit", None, ["apple"])
    assert isinstance(caught.value, UserError) and caught.value.exit_status == 2
    check_choice("fruit", None, [None])


def test_the_first_difference_of_two_lists():
    assert first_difference(["a", "b"], ["a", "c"]) == ", the first that differ are 'b' and 'c'"
    assert first_difference([1, 2], [1]) == first_difference([], []) == ""
