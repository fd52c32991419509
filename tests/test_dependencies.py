"""A digest changes with every line that a run executes, wherever it stands, and no other."""

import ast
import dataclasses
import functools
import random
import sys
import types

import numpy as np
import pytest
import torch

from labsupport import dependencies, storage, study
from labsupport.augment import Mixup, RandomCrop, RandomFlip
from labsupport.models import CNN, MLP, LocalMLP
from labsupport.probes.signals import gradient_norms
from labsupport.probes.weights import jacobian_norm
from labsupport.rules import (
    SGD,
    Adam,
    AlternatingMinimization,
    DirectFeedbackAlignment,
    EvolutionStrategy,
    FeedbackAlignment,
    GeneticAlgorithm,
    Greedy,
    LocalErrors,
)
from labsupport.types import Arm, Recipe

SMALL = dict(train_size=100, epochs=1, batch_size=50)
NET = MLP((40, 8, 8, 10))
RECIPES = {
    "momentum and decay": Recipe(NET, SGD(momentum=0.9, weight_decay=0.1), **SMALL),
    "batch norm": Recipe(MLP((40, 8, 10), norm="batch", dropout=0.2), Adam(), **SMALL),
    "augmentation and mixup": Recipe(
        NET,
        SGD(decoupled=True, decay_on="hidden"),
        augment=(RandomCrop(2),),
        mixup=Mixup(),
        **SMALL,
    ),
    "images": Recipe(
        CNN(shape=(1, 28, 28), channels=(2, 2), classes=10),
        SGD(),
        data="mnist5k",
        augment=(RandomFlip(),),
        **SMALL,
    ),
    "local errors": Recipe(LocalMLP((40, 8, 8, 10)), SGD(gradient=LocalErrors("sim")), **SMALL),
    "greedy": Recipe(LocalMLP((40, 8, 8, 10)), SGD(gradient=Greedy(1)), **SMALL),
    "feedback alignment": Recipe(NET, SGD(gradient=FeedbackAlignment("signs")), **SMALL),
    "direct feedback": Recipe(NET, SGD(gradient=DirectFeedbackAlignment("redrawn")), **SMALL),
    "evolution": Recipe(MLP((40, 8, 10)), Adam(gradient=EvolutionStrategy(population=4)), **SMALL),
    "genetic": Recipe(MLP((40, 8, 10)), GeneticAlgorithm(population=4, parents=2), **SMALL),
    "alternating": Recipe(NET, AlternatingMinimization(), **SMALL),
    "standardized": Recipe(NET, SGD(), standardize=True, label_noise=0.1, **SMALL),
}
PROBES = (jacobian_norm, gradient_norms)
CELL = '''
SCALE = 3.0


def _scaled(x):
    # a comment
    return x * SCALE


def probe(net, params, buffers, dataset):
    """The mean of all parameters."""
    mean = _scaled(params.flat).mean(1)
    return {"mean": mean}
'''


def notebook(source: str = CELL) -> dict:
    """What a notebook holds after a cell has run."""
    namespace = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def roots(recipe: Recipe, probes) -> tuple:
    return study._run, [("a", recipe)], [0], list(probes)


def reached(*items) -> list[types.FunctionType]:
    reach = dependencies.Reach()
    for item in items:
        reach.describe(item)
    for _ in reach.follow():
        pass
    return [item for item in reach.met if isinstance(item, types.FunctionType)]


def with_inner(code: types.CodeType) -> set[types.CodeType]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return {code}.union(*map(with_inner, inner))


@functools.cache
def executed(name: str, with_probes: bool) -> set[types.CodeType]:
    """The code of this package and of the notebook that a study of this recipe runs."""
    recipe = RECIPES[name]
    probes = [notebook()["probe"], *(PROBES if with_probes else ())]
    seen = set()

    def note(frame, event, argument):
        if event == "call":
            seen.add((frame.f_globals.get("__name__", ""), frame.f_code))

    sys.setprofile(note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LABSUPPORT_THREADS", "1")
            study._run([Arm("a", recipe)], [0], probes)
    finally:
        sys.setprofile(None)
    own = ("labsupport", "__main__")
    return {code for module, code in seen if module.partition(".")[0] in own}


@pytest.mark.parametrize("name", RECIPES)
def test_all_code_that_a_run_executes_is_reached(name, shared_home):
    recipe = RECIPES[name]
    with_probes = type(recipe.model) is MLP and recipe.model.norm is None
    ran = executed(name, with_probes)
    probes = [notebook()["probe"], *(PROBES if with_probes else ())]
    followed = reached(*roots(recipe, probes))
    known = set().union(*(with_inner(function.__code__) for function in followed))
    missed = {code.co_qualname for code in ran - known if not generated(code)}
    assert len(ran) > 30 and missed == set()


def generated(code: types.CodeType) -> bool:
    """Code of a class's or a module's body: it has run when they were made."""
    return code.co_name in ("<module>",) or code.co_filename == "<string>"


def statements(source: str, function: types.FunctionType) -> list[int]:
    """The lines at which statements of a function begin, its docstring left out."""
    first = function.__code__.co_firstlineno
    for node in ast.walk(ast.parse(source)):
        decorated = getattr(node, "decorator_list", None)
        if isinstance(node, ast.FunctionDef) and first in (
            node.lineno,
            *(d.lineno for d in decorated),
        ):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            inner = [s for part in body for s in ast.walk(part) if isinstance(s, ast.stmt)]
            return [s.lineno for s in inner] or [node.lineno]
    return []


def codes(source: str, file: str) -> dict[str, types.CodeType]:
    """The code objects of a source, by qualified name; of several with one name, none."""
    found = [c for c in with_inner(compile(source, file, "exec", dont_inherit=True))]
    names = [c.co_qualname for c in found]
    return {c.co_qualname: c for c in found if names.count(c.co_qualname) == 1}


def rewritten(functions, source: str, file: str, monkeypatch) -> int:
    """Give live functions of a file the code that this source of it has; how many there were."""
    new = codes(source, file)
    mine = [f for f in functions if f.__code__.co_filename == file and f.__qualname__ in new]
    for function in mine:
        if function.__code__.co_freevars == new[function.__code__.co_qualname].co_freevars:
            monkeypatch.setattr(function, "__code__", new[function.__code__.co_qualname])
    return len(mine)


def source_of(file: str) -> str:
    return CELL if file == "<cell>" else open(file, encoding="utf8").read()


@pytest.mark.parametrize("seed", range(30))
def test_any_change_of_any_line_that_runs_changes_the_digest(seed, shared_home, monkeypatch):
    rng = random.Random(seed)
    name = rng.choice(list(RECIPES))
    recipe, probes = RECIPES[name], [notebook()["probe"]]
    functions = reached(*roots(recipe, probes))
    ran = executed(name, False)
    candidates = sorted(
        (f for f in functions if f.__code__ in ran and f.__code__.co_filename != "<string>"),
        key=lambda f: (f.__code__.co_filename, f.__qualname__),
    )
    cells = [f for f in candidates if f.__code__.co_filename == "<cell>"]
    function = rng.choice(cells if seed % 4 == 0 else candidates)
    file = function.__code__.co_filename
    source = source_of(file)
    lines = source.splitlines()
    starts = statements(source, function)
    assert starts or function.__name__ == "<lambda>"
    before = dependencies.digest(*roots(recipe, probes))
    tried = 0
    for start in starts or [function.__code__.co_firstlineno]:
        if function.__name__ == "<lambda>":
            changed = (
                lines[: start - 1] + [lines[start - 1].replace(":", ": 1 and", 1)] + lines[start:]
            )
        else:
            indent = lines[start - 1][: len(lines[start - 1]) - len(lines[start - 1].lstrip())]
            changed = [*lines[: start - 1], f"{indent}changed = 1", *lines[start - 1 :]]
        try:
            compile("\n".join(changed), file, "exec")
        except SyntaxError:
            continue  # in the middle of an if ... else
        with monkeypatch.context() as patch:
            assert rewritten(functions, "\n".join(changed), file, patch)
            assert dependencies.digest(*roots(recipe, probes)) != before, (file, start)
        tried += 1
    assert tried
    assert dependencies.digest(*roots(recipe, probes)) == before


def test_comments_docstrings_and_other_line_numbers_change_nothing(monkeypatch):
    recipe, probes = RECIPES["momentum and decay"], [notebook()["probe"]]
    functions = reached(*roots(recipe, probes))
    before = dependencies.digest(*roots(recipe, probes))
    files = {f.__code__.co_filename for f in functions if f.__code__.co_filename != "<string>"}
    assert len(files) > 10
    for file in files:
        if file != "<cell>" and "labsupport" not in file:
            continue
        commented = "# a comment\n\n" + source_of(file).replace('"""\n', '"""  # another\n')
        assert rewritten(functions, commented, file, monkeypatch), file
    assert dependencies.digest(*roots(recipe, probes)) == before
    undocumented = CELL.replace('    """The mean of all parameters."""\n', "")
    assert dependencies.digest(notebook(undocumented)["probe"]) == dependencies.digest(probes[0])


def test_a_function_that_nothing_reaches_changes_nothing():
    more = CELL + "\n\ndef other():\n    return 1\n"
    assert dependencies.digest(notebook(more)["probe"]) == dependencies.digest(notebook()["probe"])


@pytest.mark.parametrize(
    ("old", "new"),
    [("SCALE = 3.0", "SCALE = 4.0"), ("x * SCALE", "SCALE * x"), (".mean(1)", ".sum(1)")],
)
def test_a_changed_global_or_neighbour_of_a_probe_changes_the_digest(old, new):
    changed = CELL.replace(old, new)
    assert changed != CELL
    before = dependencies.digest(notebook()["probe"])
    assert dependencies.digest(notebook(changed)["probe"]) != before


def test_a_class_redefined_under_its_old_name_is_another(monkeypatch):
    def cell(power):
        return notebook(
            "import dataclasses\n\n@dataclasses.dataclass(frozen=True)\nclass StraightThrough:\n"
            f"    scale: float = 1.0\n    def __call__(self, x):\n        return x ** {power}\n"
        )["StraightThrough"]

    one, other = cell(1)(), cell(2)()
    assert repr(one) == repr(other)
    assert dependencies.digest(one) != dependencies.digest(other)
    assert dependencies.digest(one) == dependencies.digest(cell(1)())
    assert dependencies.digest(cell(1)(2.0)) != dependencies.digest(one)


VALUES = {
    "an integer and a float": (1, 1.0),
    "true and one": (True, 1),
    "zero and minus zero": (0.0, -0.0),
    "a list and a tuple": ([1], (1,)),
    "tensors of two dtypes": (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    "tensors of two shapes": (torch.zeros(2), torch.zeros(2, 1)),
    "half precision": (torch.ones((), dtype=torch.bfloat16), torch.zeros((), dtype=torch.bfloat16)),
    "arrays": (np.arange(3), np.arange(3) + 1),
    "states of a generator": (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
    "dictionaries in another order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "partial functions": (functools.partial(max, 1), functools.partial(max, 2)),
    "library functions": (torch.relu, torch.tanh),
    "methods of an object": ([1].index, [2].index),
    "weights of a module": (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    "lambdas": (lambda x: x + 1, lambda x: x + 2),
    "lambdas that changed places": (
        {"a": lambda x: x + 1, "b": lambda x: x + 2},
        {"a": lambda x: x + 2, "b": lambda x: x + 1},
    ),
    "defaults": (lambda x=1: x, lambda x=2: x),
}


@pytest.mark.parametrize(("one", "other"), VALUES.values(), ids=VALUES)
def test_values_that_differ_have_digests_that_differ(one, other):
    assert dependencies.digest(one) == dependencies.digest(one)
    assert dependencies.digest(one) != dependencies.digest(other)


def test_sets_and_cycles_have_one_digest():
    assert dependencies.digest({"a", "b", "c"}) == dependencies.digest({"c", "b", "a"})
    loop = [1]
    loop.append(loop)
    assert dependencies.digest(loop) == dependencies.digest(loop)


def test_an_object_that_many_hold_is_described_once():
    """Else every path to it would count: twice as many with each of these."""
    shared = {}
    for _ in range(60):
        shared = types.SimpleNamespace(one=shared, other=shared)
    again = {}
    for _ in range(60):
        again = types.SimpleNamespace(one=again, other=again)
    assert dependencies.digest(shared) == dependencies.digest(again)
    one, other = types.SimpleNamespace(), types.SimpleNamespace()
    assert dependencies.digest([one, one, other]) != dependencies.digest([one, other, other])


def test_what_cannot_be_compared_is_refused_with_its_class(tmp_path):
    with (
        open(tmp_path / "file", "w") as file,
        pytest.raises(dependencies.Untraceable, match="TextIOWrapper: nothing can tell"),
    ):
        dependencies.digest(file)


def test_a_digest_knows_the_versions_of_the_libraries_it_reaches_and_no_others(monkeypatch):
    before = dependencies.digest(jacobian_norm)
    real = dependencies._version.__wrapped__
    for library, changes in (("torch", True), ("matplotlib", False)):
        other = lambda name, library=library: "0" if name == library else real(name)  # noqa: E731
        with monkeypatch.context() as patch:
            patch.setattr(dependencies, "_version", other)
            assert (dependencies.digest(jacobian_norm) != before) is changes


def test_state_of_the_package_is_no_part_of_a_digest(monkeypatch, tmp_path):
    """A lower-case register that a run reaches: the folders that were warned of."""
    before = dependencies.digest(*roots(RECIPES["genetic"], []))
    assert isinstance(storage._warned, set)
    monkeypatch.setattr(storage, "_warned", {tmp_path})
    assert dependencies.digest(*roots(RECIPES["genetic"], [])) == before
    monkeypatch.setattr(storage, "SAYS", "Another word")
    assert dependencies.digest(*roots(RECIPES["genetic"], [])) != before


def test_the_places_of_a_notebook_are_the_definitions_that_its_code_names():
    namespace = {"__name__": "__main__"}
    source = "from labsupport import compare\nfound = compare.where('a')"
    code = compile(source, "<cell>", "exec")
    exec(code, namespace)
    found = dependencies.places((code, namespace))
    assert found == [("compare.py", ""), ("compare.py", "where")]
    more = compile("found = compare.interval([1.0, 2.0])", "<cell>", "exec")
    found = dependencies.places((code, namespace), (more, namespace))
    assert {("compare.py", "interval"), ("compare.py", "CONFIDENCE"), ("types.py", "Interval")} <= {
        *found
    }
    assert not any(file in ("train.py", "plots.py") for file, _ in found)


def test_records_of_recipes_are_told_apart_by_any_field():
    recipe = RECIPES["momentum and decay"]
    before = dependencies.digest(recipe)
    for field in ("batch_size", "epochs", "train_size", "valid_size"):
        assert dependencies.digest(dataclasses.replace(recipe, **{field: 60})) != before
