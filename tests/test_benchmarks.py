"""The benchmark keeps its promises: the shape of what it prints, and the same work for every
contender. No timing.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import jobs, limit, peers
from benchmarks import train as benchmark
from labsupport import train

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """The peers are measured there; threads are put back."""
    monkeypatch.setenv("LABSUPPORT_DEVICE", "cpu")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(monkeypatch):
    """The job in small; two steps teach nothing, so accuracies are chance, give or take."""
    job = jobs.JOBS["mlp"]
    job = replace(job, recipe=replace(job.recipe, train_size=200, epochs=1), seeds=2, tolerance=0.3)
    for other in set(jobs.JOBS) - {"mlp"}:
        monkeypatch.delitem(jobs.JOBS, other)
    monkeypatch.setitem(jobs.JOBS, "mlp", job)
    return job


@pytest.mark.parametrize("name", jobs.JOBS)
def test_the_peers_train_the_network_of_the_recipe(name):
    job = jobs.JOBS[name]
    drawn, _ = job.recipe.model.init([torch.Generator().manual_seed(0)])
    theirs = list(job.module().parameters())
    assert [p.shape for p in theirs] == [p.shape[1:] for p in drawn.values()]
    x, module = train.load(job.recipe).x_test[:3], job.module()
    module.load_state_dict(
        dict(zip(module.state_dict(), (p[0] for p in drawn.values()), strict=True))
    )
    ours = job.recipe.model.forward(drawn, {}, x[None])[0]
    if len(job.recipe.model.shapes[0]) != 3:  # signals come out places first, not channels first
        torch.testing.assert_close(module(x).detach(), ours)
    assert module(x).shape == ours.shape


@pytest.mark.parametrize("name", jobs.JOBS)
def test_a_products_arithmetic_is_that_of_the_layers(name):
    """Forward and the weights' gradients cost the same; the inputs' gradients, all but the first
    layer's, too.
    """
    job = jobs.JOBS[name]
    costs = [m * k * n for m, k, n in job.products(job.recipe)]
    layers = job.recipe.model.depth
    assert len(costs) == 3 * layers - 1 and costs[0] == costs[1] and len(set(costs[2:5])) == 1


def need(peer):
    if not peers.installed(peer):
        pytest.skip(f"{peer} is not installed; it comes with the extra [bench]")


@pytest.fixture
def light(monkeypatch):
    """Without the fresh process that weighs ours, which takes seconds to start."""
    monkeypatch.setattr(benchmark, "peak_mb", lambda job: 1.0)


def printed(capsys, *arguments):
    benchmark.main(["--json", "--runs", "1", *arguments])
    return json.loads(capsys.readouterr().out)


def test_it_prints_json_of_the_promised_shape_and_nothing_else(tiny, capsys):
    found = printed(capsys, "--peer", "plain", "--peer", "loader")
    assert list(found) == ["jobs"]
    assert list(found["jobs"]) == ["mlp"]
    mlp = found["jobs"]["mlp"]
    assert set(mlp) == {"seconds", "peers", "limit_share", "peak_mb"}
    assert list(mlp["peers"]) == ["plain", "loader"]
    assert all(
        number > 0
        for number in [mlp["seconds"], mlp["limit_share"], mlp["peak_mb"], *mlp["peers"].values()]
    )


@pytest.mark.parametrize("peer", peers.EXTRA)
def test_a_peer_that_is_a_package_runs_and_keeps_standard_output_clean(peer, tiny, light, capsys):
    need(peer)
    assert printed(capsys, "--peer", peer)["jobs"]["mlp"]["peers"][peer] > 0


def test_a_peer_that_is_not_installed_is_null_and_said_on_stderr(tiny, light, monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    benchmark.main(["--json", "--runs", "1", "--peer", "skorch"])
    out, err = capsys.readouterr()
    assert json.loads(out)["jobs"]["mlp"]["peers"] == {"skorch": None}
    assert "skorch is not installed" in err and ".[bench]" in err


def test_without_json_it_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark,
        "measure",
        lambda *arguments: {
            "seconds": 0.25,
            "peers": {"plain": 5.04, "skorch": None},
            "limit_share": 0.5,
            "peak_mb": 480.0,
        },
    )
    benchmark.main(["--job", "mlp"])
    first, plain, skorch = capsys.readouterr().out.splitlines()
    assert first == "mlp: 0.250 s, 50% of the matrix-product limit, 480 MB at most"
    assert plain.split() == ["plain", "5.0", "times", "as", "long"]
    assert skorch.split() == ["skorch", "not", "installed"]


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="this system has no /proc to look into"
)
def test_memory_counts_the_processes_that_a_process_starts():
    script = "import {0}; {1}; print(flush=True); input()"
    block = "block = b'x' * 50_000_000"
    child = f"subprocess.Popen([sys.executable, '-c', {script.format('sys', block)!r}])"

    def weigh(body):
        with subprocess.Popen(
            [sys.executable, "-c", script.format("subprocess, sys", body)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            for _ in range(2 if "Popen" in body else 1):
                process.stdout.readline()
            held = benchmark.held_mb(process.pid)
            process.communicate(b"\n\n")
            return held

    alone = weigh("pass")
    assert weigh(block) - alone == pytest.approx(50, abs=10)
    assert weigh(child) - alone >= 45


def test_a_process_that_fails_is_not_weighed():
    wrong = replace(jobs.JOBS["mlp"], recipe=replace(jobs.JOBS["mlp"].recipe, schedule="none"))
    with pytest.raises(RuntimeError, match="exit code 1"):
        benchmark.peak_mb(wrong)


@pytest.mark.parametrize(
    "start", [["-m", "benchmarks.train"], ["benchmarks/train.py"]], ids=["module", "file"]
)
def test_it_starts_as_a_module_and_as_a_file(start):
    done = subprocess.run(
        [sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--peer" in done.stdout


@pytest.mark.parametrize("runs", ["0", "-1", "many"])
def test_fewer_than_one_repetition_is_an_error(runs, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--runs", runs])
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("peer", peers.PEERS)
def test_every_contender_reaches_the_same_accuracy(peer):
    need(peer)
    job = replace(jobs.JOBS["mlp"], seeds=3)
    benchmark.check_same_work(
        {"ours": peers.ours(job), peer: peers.PEERS[peer](job)}, tolerance=0.06
    )


def test_a_contender_that_trains_less_is_refused(light, monkeypatch):
    job = replace(jobs.JOBS["mlp"], seeds=3)
    monkeypatch.setitem(
        peers.PEERS,
        "plain",
        lambda job: peers.loader(replace(job, recipe=replace(job.recipe, epochs=1))),
    )
    with pytest.raises(ValueError, match="not the same work.*plain"):
        benchmark.measure(job, ["plain"], runs=1)


def test_an_accuracy_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not the same work"):
        benchmark.check_same_work({"ours": 0.5, "plain": float("nan")}, tolerance=0.03)


def test_the_limit_counts_three_products_forward_and_five_backward():
    assert sorted(jobs.mlp_products(jobs.JOBS["mlp"].recipe)) == sorted(
        [
            (100, 40, 100),
            (100, 100, 100),
            (100, 100, 10),  # forward
            (100, 100, 40),
            (100, 100, 100),
            (10, 100, 100),  # gradients of the weights
            (100, 100, 100),
            (100, 10, 100),
        ]
    )  # gradients of the two hidden layers


def test_the_limit_multiplies_the_right_matrices_whichever_way_they_are_stored():
    for transposed in ((False, False), (True, False), (False, True), (True, True)):
        a, b, out = limit.operands((3, 4, 5), 2, transposed)
        limit.multiply([(a, b, out)], 1)
        torch.testing.assert_close(out, a @ b)


def test_the_limit_does_every_product_of_the_job_for_every_run(tiny):
    bound = limit.Limit(tiny)
    assert (
        bound.times
        == tiny.recipe.epochs * train.steps_in_epoch(tiny.recipe, train.load(tiny.recipe))
        == 2
    )
    for steps in zip(*bound.shared, strict=True):
        assert sum(len(out) for _, _, out in steps) == tiny.seeds
    assert bound() > 0
