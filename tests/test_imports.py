"""Imports go one way, and importing the package costs next to nothing."""

from __future__ import annotations

import ast
import functools
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import fastfm_deep
from fastfm_deep.kernels import _jit

PACKAGE = Path(fastfm_deep.__file__).parent

# From left to right: a module imports from its own group or from groups further right. An entry is a folder or
# a module; the longest one that matches counts.
GROUPS = [
    ["", "cli", "__main__"],  # "" is the package itself, which only looks names up
    ["estimators", "scorer", "datasets", "plots"],
    ["training"],
    ["model"],
    ["nn", "data"],
    ["data.rows", "data.dense", "data.fields", "data.passes", "data.plain_passes"],
    ["kernels"],
    ["validation"],
]
PLACE = {entry: place for place, group in enumerate(GROUPS) for entry in group}


@functools.cache
def modules() -> dict[str, Path]:
    """Names below the package, "data.rows", and files; a folder stands for its `__init__.py`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def place_of(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in PLACE:
            return PLACE[".".join(parts[:length])]
    raise AssertionError(f"fastfm_deep/{module.replace('.', '/')} has no place in GROUPS of this test")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def import_nodes(node: ast.AST):
    """Import statements at any depth, but for those that only type checkers follow."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from import_nodes(child)


@functools.cache
def imported_by(path: Path) -> frozenset[str]:
    """Full names of what a file imports, as far as they are modules."""
    names, tree = set(), ast.parse(path.read_text())
    for node in import_nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        assert node.level == 0, f"{path}:{node.lineno}: relative import"
        below = {f"{node.module}.{alias.name}" for alias in node.names}
        of_ours = {name for name in below if name.removeprefix("fastfm_deep.") in modules()}
        # `from fastfm_deep.kernels import fm` imports the module fm; the folder holds nothing itself.
        names |= of_ours
        if len(of_ours) < len(below):
            names.add(node.module)
    if "fastfm_deep.kernels" in names:
        names |= {f"fastfm_deep.kernels.{name}" for name in kernels_asked_for(tree)}
    return frozenset(names)


def kernels_asked_for(tree: ast.AST) -> set[str]:
    """Modules that are imported by being taken as attributes of the folder, `kernels.keys`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "kernels"
        and f"kernels.{node.attr}" in modules()
    }


def ours(path: Path) -> set[str]:
    """The package's modules among the imports, without its name; `from fastfm_deep import __version__` is ""."""
    package = fastfm_deep.__name__
    found = {name for name in imported_by(path) if name.split(".")[0] == package}
    return {name.removeprefix(package).lstrip(".") for name in found}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_one_way(module):
    place = place_of(module)
    for other in ours(modules()[module]):
        if other == "":
            only_the_version(modules()[module])
            continue
        assert place_of(other) >= place, f"{module} imports {other}, which stands to the left of it"


def only_the_version(path: Path) -> None:
    for node in import_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "fastfm_deep":
            names = {alias.name for alias in node.names}
            assert names <= {"__version__"} | set(modules()), f"{path} imports {names} from the package"


def test_kernels_and_messages_import_nothing_else_of_ours():
    for module, path in modules().items():
        if module.startswith("kernels."):
            assert all(other.startswith("kernels.") for other in ours(path)), module
    for module, path in modules().items():
        if module.split(".")[0] == "validation":
            assert all(other.startswith("validation.") for other in ours(path)), module


def reached_from(module: str) -> set[str]:
    """Everything that importing a module imports, outside packages by their first name only."""
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for other in imported_by(modules()[name]):
            if other.split(".")[0] != "fastfm_deep":
                reached.add(other.split(".")[0])
            elif other != "fastfm_deep":
                waiting.append(other.removeprefix("fastfm_deep."))
    return reached


def scoring_modules() -> list[str]:
    return [name for name in modules() if name == "scorer" or name.startswith("model.")]


@pytest.mark.parametrize("module", scoring_modules())
def test_scoring_needs_no_training(module):
    """A process that only scores loads neither the estimators nor scikit-learn."""
    reached = reached_from(module)
    assert not {name for name in reached if name.split(".")[0] in {"training", "estimators", "sklearn"}}


def test_importing_the_scorer_loads_no_compiled_code():
    loaded = loaded_after("import fastfm_deep.scorer")
    assert "fastfm_deep.model.plain_score" in loaded
    assert not loaded & {"numba", "llvmlite", "sklearn", "scipy", "joblib", "threadpoolctl", "pandas", "pyarrow"}
    assert not {name for name in loaded if name.startswith(("fastfm_deep.estimators", "fastfm_deep.training"))}


def test_the_walk_sees_far():
    """What the test above leans on: the estimators do reach all the way down."""
    assert {"kernels._jit", "validation", "numba"} <= reached_from("model.score")
    assert {"model.compiled_score", "model.mapped", "kernels.row_score"} <= reached_from("scorer")
    assert {"training.loop", "model.params", "sklearn"} <= reached_from("estimators.fm_classifier")
    assert {"kernels.keys", "numba"} <= reached_from("data.vocabulary")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    heavy = {"numba", "llvmlite", "sklearn", "scipy", "scipy.sparse", "numpy", "typer", "tqdm", "safetensors"}
    heavy |= {"pandas", "joblib", "threadpoolctl"}
    loaded = loaded_after("import fastfm_deep")
    assert "fastfm_deep" in loaded
    assert not loaded & heavy


def test_names_are_looked_up_when_used():
    loaded = loaded_after("import fastfm_deep; fastfm_deep.InputError")
    assert "fastfm_deep.validation" in loaded
    assert "numba" not in loaded
    with pytest.raises(AttributeError, match="module 'fastfm_deep' has no attribute 'FMClasifier'"):
        fastfm_deep.FMClasifier  # noqa: B018
    assert set(fastfm_deep.__all__) <= set(dir(fastfm_deep))


@pytest.mark.parametrize("name", fastfm_deep.__all__)
def test_every_public_name_is_there(name):
    assert getattr(fastfm_deep, name) is not None


def test_digest_covers_every_kernel_source():
    digest = hashlib.blake2b(digest_size=6)
    sources = sorted(path for module, path in modules().items() if module.split(".")[0] == "kernels")
    assert PACKAGE / "kernels" / "fm.py" in sources
    for path in sources:
        digest.update(path.read_bytes())
    assert _jit._source_digest().split("_")[0] == digest.hexdigest()
