"""A study is trained once, kept whole, and read back to the last bit; what made it is its name."""

import dataclasses
import inspect
import warnings

import pandas as pd
import pytest

from labsupport import study
from labsupport.models import MLP
from labsupport.probes.weights import jacobian_norm, weight_norms
from labsupport.rules import SGD
from labsupport.topics.mixup import calibration
from labsupport.topics.mixup.probes import Calibration
from labsupport.types import Arm, Recipe
from tools import keys, layout

BASE = Recipe(MLP((40, 8, 10)), SGD(lr=0.1), train_size=200, epochs=2)


@pytest.fixture
def trained(fresh_home, monkeypatch):
    """Counts how often anything was trained."""
    calls = []
    original = study.train.train_many
    monkeypatch.setattr(study.train, "train_many", lambda *args: calls.append(1) or original(*args))
    return calls


def test_every_file_that_the_training_loop_computes_with_is_a_source_of_its_results():
    named = {path for pattern in study.SOURCES for path in layout.PACKAGE.glob(pattern)}
    found, waiting = set(), [layout.PACKAGE / "train.py", layout.PACKAGE / "profiles.py", *named]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            waiting += keys.imported(path, layout.PACKAGE)
    no_number_hangs_on = {
        layout.PACKAGE / name for name in ("machine.py", "storage.py", "workers.py")
    }
    assert len(found) > 20 and found - named == no_number_hangs_on


def test_a_result_knows_of_the_reference_that_its_probe_calls(trained, monkeypatch):
    def measure():
        return study.study([Arm("one", BASE)], seeds=[0], probes=[Calibration()])

    assert measure().table.equals(measure().table) and len(trained) == 1
    source = inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda item: source(item) + "# changed" * (item is calibration)
    )
    measure()
    assert len(trained) == 2


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
    monkeypatch.setattr(study.torch, "__version__", "0.0")
    study.study([Arm("a", BASE)], seeds=range(2))
    monkeypatch.setattr(study.storage, "source_digest", lambda *files: "other")
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
