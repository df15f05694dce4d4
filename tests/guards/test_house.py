"""The rules of the house that CONTRIBUTING.md states: room sizes, file lengths, names, the place of tests."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(file.parent.name for file in ROOT.glob("*/__init__.py"))
SOURCES = sorted(file for folder in [*PACKAGES, "benchmarks"] for file in (ROOT / folder).rglob("*.py"))
MODULES = [file for file in SOURCES if file.name != "__init__.py"]
TOOLS = sorted((ROOT / "tools").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
# Tests of the whole: the rules of the house, and command lines from end to end.
OF_THE_WHOLE = {"guards", "pipeline"}
# Each package has its configuration, its constructors, its export and its types under the same name, as the
# design says.
ROLES = {"config", "build", "export", "types"}
# Names that say nothing without their folder.
EMPTY_NAMES = {
    *("static", "contents", "target", "records", "files", "place"),
    *("utils", "misc", "helpers", "manager", "base", "common"),
}


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def mirrored(module: Path) -> Path:
    """Where the test of a module stands."""
    return ROOT / "tests" / module.relative_to(ROOT).parent / f"test_{module.name}"


def test_rooms_hold_at_most_twelve_modules():
    rooms = Counter(relative(module.parent) for module in MODULES)
    assert {room: number for room, number in rooms.items() if number > 12} == {}


def test_files_have_at_most_300_lines():
    lengths = {relative(file): len(file.read_text().splitlines()) for file in [*SOURCES, *TOOLS]}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_two_modules_share_a_name():
    places = defaultdict(list)
    for module in MODULES:
        if (
            module.stem not in ROLES and module.parent.name != "adapters"
        ):  # an adapter has the name of its host
            places[module.stem].append(relative(module))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_names_say_something():
    assert [relative(module) for module in MODULES if module.stem in EMPTY_NAMES] == []


def test_init_files_only_export():
    for file in SOURCES:
        if file.name == "__init__.py":
            inside = ast.parse(file.read_text()).body
            assert [type(node).__name__ for node in inside if is_code(node)] == [], relative(file)


def is_code(node: ast.stmt) -> bool:
    """Whether a statement does more than document, import, name exports, or look for our packages."""
    documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    exports = ("__all__", "__getattr__")
    names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in exports
    looks = ast.unparse(node) == "require_neighbours(__name__)"
    return not (documents or names or looks or isinstance(node, ast.Import | ast.ImportFrom))


def test_every_module_has_its_test():
    assert [relative(module) for module in MODULES if not mirrored(module).is_file()] == []


def test_every_test_names_its_module():
    """`test_rpn.py` tests the module rpn, `test_rpn_parity.py` one aspect of it."""
    lost = []
    for test in TESTS:
        folder = test.parent.relative_to(ROOT / "tests")
        if folder.parts and folder.parts[0] in OF_THE_WHOLE:
            continue
        modules = [module.stem for module in (ROOT / folder).glob("*.py")]
        name = test.stem.removeprefix("test_")
        if not any(name == module or name.startswith(f"{module}_") for module in modules):
            lost.append(relative(test))
    assert lost == []


def literal_defaults(file: Path) -> list[tuple[str, str, str, bool]]:
    """Of every field and parameter of a file: name, default, owner, and whether that is an options class."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list):
            options = node.name.endswith(("Config", "Options"))
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and field.value is not None:
                    found.append((ast.unparse(field.target), ast.unparse(field.value), node.name, options))
        if isinstance(node, ast.FunctionDef):
            given = node.args
            from_the_end = reversed([*given.posonlyargs, *given.args])
            pairs = [*zip(from_the_end, reversed(given.defaults), strict=False)]
            pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
            found += [(a.arg, ast.unparse(d), f"{node.name}()", False) for a, d in pairs if d is not None]
    return found


# Values so common that two equal ones are no repeated decision.
PLAIN_DEFAULTS = {"None", "True", "False", "0", "0.0", "1", "1.0", "()", "''"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_default_is_stated_twice(package: str):
    """The default of an option stands in its options class alone, and in no constructor beside it."""
    owners = defaultdict(list)
    decided = set()
    for file in sorted((ROOT / package).rglob("*.py")):
        for name, default, owner, is_option in literal_defaults(file):
            if default not in PLAIN_DEFAULTS and not default.startswith("field(default_factory"):
                owners[f"{name} = {default}"].append(f"{relative(file)}: {owner}")
                decided |= {f"{name} = {default}"} if is_option else set()
    assert {default: owners[default] for default in decided if len(owners[default]) > 1} == {}


def test_what_is_printed_is_escaped_at_one_place():
    # `say` and the log show control characters of file and class names escaped; a plain print would not.
    calls = {
        relative(file)
        for file in [*SOURCES, *TOOLS]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert calls == {"training/command.py"}
