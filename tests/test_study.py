"""A study is trained once, kept whole, and read back to the last bit; what made it is its name."""

import dataclasses
import json
import os
import subprocess
import sys
import types
import warnings

import pandas as pd
import pytest

from labsupport import storage, study, train
from labsupport.models import CNN, MLP
from labsupport.probes.weights import jacobian_norm, weight_norms
from labsupport.rules import SGD
from labsupport.types import Arm, Recipe
from tools import layout

BASE = Recipe(MLP((40, 8, 10)), SGD(lr=0.1), train_size=200, epochs=2)


@pytest.fixture
def trained(fresh_home, monkeypatch):
    """Counts how often anything was trained: each result is kept once."""
    calls = []
    kept = types.SimpleNamespace(
        read=storage.read, write=lambda *args: calls.append(1) or storage.write(*args)
    )
    monkeypatch.setattr(study, "storage", kept)  # not storage.write: the data sets are kept by it
    return calls


def files(home):
    return sorted((home / "results").glob("*.json"))


def test_the_table_is_tidy_and_complete(fresh_home):
    result = study.study(study.grid(BASE, lr=[0.1, 0.2]), seeds=range(3))
    assert list(result.table.columns) == ["arm", "seed", "epoch", "metric", "value"]
    assert len(result.table) == 2 * 3 * 2 * 5
    assert not result.table.duplicated(["arm", "seed", "epoch", "metric"]).any()
    assert set(result.table["arm"]) == {"lr=0.1", "lr=0.2"} and result.diverged.empty


def test_the_same_study_again_is_read_not_trained(trained):
    one = study.study([Arm("a", BASE)], seeds=range(3))
    two = study.study([Arm("a", BASE)], seeds=range(3))
    assert len(trained) == 1
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)


@pytest.mark.parametrize(
    "change", [dict(lr=0.2), dict(epochs=1), dict(sizes=(40, 9, 10)), dict(train_size=100)]
)
def test_another_recipe_is_another_study(trained, change):
    study.study([Arm("a", BASE)], seeds=range(2))
    study.study([Arm("a", study.vary(BASE, **change))], seeds=range(2))
    assert len(trained) == 2


def test_other_seeds_probes_sources_data_or_torch_are_another_study(trained, monkeypatch):
    study.study([Arm("a", BASE)], seeds=range(2))
    study.study([Arm("a", BASE)], seeds=range(3))
    study.study([Arm("a", BASE)], seeds=range(2), probes=[weight_norms])
    with monkeypatch.context() as patch:
        patch.setattr(study.dependencies, "_version", lambda library: "0.0")
        study.study([Arm("a", BASE)], seeds=range(2))
    with monkeypatch.context() as patch:
        patch.setattr(study.train, "EVAL_ROWS", 100)
        study.study([Arm("a", BASE)], seeds=range(2))
    monkeypatch.setattr(
        study.train,
        "load",
        lambda recipe: dataclasses.replace(study.train.datasets.load("mnist1d"), digest="other"),
    )
    study.study([Arm("a", BASE)], seeds=range(2))
    assert len(trained) == 6


def test_a_damaged_result_is_made_again_and_said_so(trained, fresh_home):
    one = study.study([Arm("a", BASE)], seeds=range(2))
    (path,) = files(fresh_home)
    for damage in (
        path.read_bytes()[:-10],
        b"",
        path.read_bytes().replace(b"train_loss", b"train_lass", 1),
    ):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match="is damaged and is made again"):
            again = study.study([Arm("a", BASE)], seeds=range(2))
        pd.testing.assert_frame_equal(
            *(result.table.query("metric != 'seconds'") for result in (one, again))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            study.study([Arm("a", BASE)], seeds=range(2))
    assert len(trained) == 4


def test_an_interrupted_study_leaves_nothing_behind(fresh_home, monkeypatch):
    monkeypatch.setattr(
        study.storage.os, "replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        study.study([Arm("a", BASE)], seeds=range(2))
    assert [path.name for path in (fresh_home / "results").iterdir()] == []


def test_arms_share_seeds_so_equal_arms_are_equal(fresh_home):
    result = study.study([Arm("a", BASE), Arm("b", BASE)], seeds=range(3))
    by_arm = result.table.query("metric != 'seconds'").pivot(
        index=["seed", "epoch", "metric"], columns="arm", values="value"
    )
    assert (by_arm["a"] - by_arm["b"]).abs().max() < 1e-5


def test_diverged_runs_are_kept_counted_and_nan(fresh_home):
    result = study.study(
        [Arm("calm", BASE), Arm("wild", study.vary(BASE, lr=1e12, epochs=6))], seeds=range(2)
    )
    assert set(result.diverged["arm"]) == {"wild"} and sorted(result.diverged["seed"]) == [0, 1]
    values = result.table.set_index("arm")["value"]
    assert values["wild"].isna().any() and values["calm"].notna().all()


def test_a_progress_bar_counts_every_epoch_and_waits_two_seconds_before_it_shows(
    fresh_home, monkeypatch
):
    seen = []

    class Bar(study.train.tqdm):
        def __init__(self, **options):
            seen.append(options)
            super().__init__(**options)

        def close(self):
            seen.append(self.n)
            super().close()

    monkeypatch.setattr(study.train, "tqdm", Bar)
    study.study([Arm("a", BASE)], seeds=range(3))
    assert seen[0]["delay"] == 2 and seen[0]["total"] == 3 * BASE.epochs == seen[1]


@pytest.mark.parametrize(
    ("arms", "seeds"),
    [([], [0]), ([Arm("a", BASE)], []), ([Arm("a", BASE)] * 2, [0]), ([Arm("a", BASE)], [0, 0])],
)
def test_arms_and_seeds_must_be_there_and_differ(arms, seeds):
    with pytest.raises(ValueError, match="different names and different seeds"):
        study.study(arms, seeds)


def test_vary_finds_a_field_wherever_it_is():
    changed = study.vary(BASE, lr=0.5, sizes=(40, 3, 10), epochs=7)
    assert (changed.rule.lr, changed.model.sizes, changed.epochs) == (0.5, (40, 3, 10), 7)


def test_vary_names_an_unknown_field_and_those_there_are():
    with pytest.raises(
        ValueError, match="no field 'drop_out' in this recipe; there are activation.* lr, momentum"
    ):
        study.vary(BASE, drop_out=0.5)


def test_a_grid_tells_its_values_apart():
    names = [arm.name for arm in study.grid(BASE, momentum=[0.9996, 0.9998])]
    assert names == ["momentum=0.9996", "momentum=0.9998"]
    values = [1 / 3, 0.1, 1e-3]
    assert [a.name for a in study.grid(BASE, lr=values)] == ["lr=0.333", "lr=0.1", "lr=0.001"]
    close = [0.1, 0.1 + 2e-17 + 1e-16]
    assert len({arm.name for arm in study.grid(BASE, lr=close)}) == 2


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (dict(lr=[0.1, 0.1]), r"lr is \[0.1, 0.1\]; .* each value once"),
        (dict(lr=[]), "at least one value"),
        (dict(lr=0.1), r"lr is 0.1; an axis is a list of values: lr=\[0.1\]"),
        (dict(activation="relu"), "activation is 'relu'; an axis is a list"),
        (dict(lr=["0.1"]), "lr is '0.1'; it must be a number >= 0"),
        (dict(lr=[float("nan")]), "lr is nan"),
        (dict(epochs=[1.5]), "epochs is 1.5; it must be a whole number"),
        (dict(train_size=[0]), "train_size is 0; it must be a whole number"),
        (dict(dropout=[1.0]), r"dropout is 1.0, .* in \[0, 1\)"),
    ],
)
def test_a_value_that_cannot_be_is_named_where_it_is_given(axes, message):
    with pytest.raises(ValueError, match=message):
        study.grid(BASE, **axes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(sizes=(30, 10)), r"sizes of MLP are \(30, 10\); inputs \(40,\) of 10 classes"),
        (dict(sizes=(40, 5)), "at least 10 last"),
        (dict(train_size=10**6), "train_size 1000000 .* the training pool has 4000"),
        (dict(model=CNN((1, 28, 28))), r"shape of CNN is \(1, 28, 28\) .* inputs \(40,\)"),
        (dict(model=MLP), "model is <class .*MLP'>; it must be an object"),
        (dict(rule="sgd"), "rule is 'sgd'; it must be an object with the methods init and step"),
        (dict(schedule="linear"), "schedule is 'linear'; there are constant, cosine"),
    ],
)
def test_an_arm_that_cannot_be_trained_is_named_before_any_is(change, message, monkeypatch):
    monkeypatch.setattr(train, "train", None)
    runs = [(BASE, 0), (study.vary(BASE, **change), 0)]
    with pytest.raises(ValueError, match=message):
        train.train_many(runs)


def test_a_grid_has_an_arm_for_every_combination():
    arms = study.grid(BASE, "g ", lr=[0.1, 0.2], weight_decay=[0.0, 1.0, 2.0])
    assert len({arm.name for arm in arms}) == 6 and arms[0].name == "g lr=0.1, weight_decay=0"
    assert all(arm.recipe.rule.lr == arm.values["lr"] for arm in arms)


def test_probes_measure_what_they_say(fresh_home):
    """The Jacobian of a network without hidden layer is its weight matrix."""
    flat = Recipe(MLP((40, 10)), SGD(lr=0.1), train_size=200, epochs=1)
    table = study.study([Arm("a", flat)], [0, 1], [weight_norms, jacobian_norm]).table
    last = table.pivot_table(index="seed", columns="metric", values="value")
    assert last["jacobian"].to_numpy() == pytest.approx(last["norm2"].to_numpy() ** 0.5, rel=1e-5)
    assert last["norm2"].to_numpy() == pytest.approx(last["norm2_weight1"].to_numpy())


@pytest.mark.parametrize(
    ("arms", "seeds", "words"),
    [
        ([Arm("a", BASE)], 10, r"seeds are 10; give whole numbers: range\(10\)"),
        ([Arm("a", BASE)], ["0"], r"seeds are \['0'\]"),
        (Arm("a", BASE), range(2), r"give a list of Arm\(name, recipe\)"),
        ([BASE], range(2), r"give a list of Arm\(name, recipe\)"),
    ],
)
def test_seeds_and_arms_of_another_kind_are_named(arms, seeds, words):
    with pytest.raises(ValueError, match=words):
        study.study(arms, seeds)


CELLS = '''
import dataclasses, json
from labsupport import study, train
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.types import Arm, Recipe

def cell(source):
    exec(compile(source, "<cell>", "exec"), globals())

def measured():
    base = Recipe(MLP((40, 8, 10)), SGD(lr=0.1), train_size=200, epochs=1, augment=(Shift(),))
    result = study.study(study.grid(base, lr=[0.1, 0.2]), [0, 1], probes=[level])
    table = result.table.query("metric in ('level', 'train_loss')")
    return table.groupby("metric")["value"].mean().round(6).to_dict()

SHIFT = """
@dataclasses.dataclass(frozen=True)
class Shift:
    by: float = 1.0
    def __call__(self, x, streams, fill_value):
        return x %s self.by
"""
LEVEL = "def level(net, params, buffers, dataset): return {'level': params.flat.abs().mean(1) * %d}"
found = []
for sign, factor in (("+", 1), ("-", 1), ("-", 3), ("+", 1)):
    cell(SHIFT % sign)
    cell(LEVEL % factor)
    found.append(measured())
print(json.dumps(found))
'''


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_cell_defines_anew_is_trained_anew_in_every_process(fresh_home, workers):
    """A transform and a probe of a notebook, redefined under their old names."""
    settings = {"LABSUPPORT_HOME": str(fresh_home), "LABSUPPORT_THREADS": workers}
    done = subprocess.run(
        [sys.executable, "-c", CELLS],
        env={**os.environ, **settings, "PYTHONPATH": str(layout.ROOT), "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, moved, scaled, again = json.loads(done.stdout)
    assert first == again and len(files(fresh_home)) == 3
    assert moved["train_loss"] != first["train_loss"]
    assert scaled["train_loss"] == moved["train_loss"]
    assert scaled["level"] == pytest.approx(3 * moved["level"], rel=1e-4)


def test_a_probe_that_cannot_be_compared_is_measured_each_time_and_said_so(trained, tmp_path):
    with open(tmp_path / "log", "w") as log:

        def logged(net, params, buffers, dataset):
            log.write("measured")
            return {"one": params.flat.new_ones(len(params.flat))}

        for _ in range(2):
            with pytest.warns(UserWarning, match="the result of this study is not kept: "):
                study.study([Arm("a", BASE)], seeds=[0], probes=[logged])
    assert trained == []
