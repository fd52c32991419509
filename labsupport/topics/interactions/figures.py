"""Draw two tricks, a forest of effects, 32 cells, and the cells that strategies choose."""

from collections.abc import Callable, Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from labsupport import compare, plots
from labsupport.topics.interactions import reference as it
from labsupport.topics.interactions.experiments import (
    TRICKS,
    cell_name,
    p_values,
    selection_strategies,
    simple_effect,
)
from labsupport.types import Interval

GREY = "#8a8f96"


def _framed(
    columns: int = 1, *, width: float, height: float, **margins: float
) -> tuple[Figure, list[Axes]]:
    """Make a figure with fixed margins.

    Frames of an explorer stand still, and a layout need not be found for each.
    """
    fig, axes = plots.figure(columns, width=width, height=height, layout="none")
    fig.subplots_adjust(right=0.98, top=0.83, bottom=0.16, **margins)
    return fig, axes


def two_tricks(gain_of_B: float = 4.0, both_gain: float = 6.0) -> Figure:
    """Draw the interaction plot of four made-up cells, A alone gaining 4 points."""
    means = torch.tensor([[40.0, 40.0 + gain_of_B], [44.0, 40.0 + both_gain]])
    (a, b), both = it.main_effects(means), it.interaction(means)
    fig, (ax,) = _framed(width=5.6, height=3.3, left=0.11)
    ax.plot([0, 1], [44, 44 + gain_of_B], ls=":", color=GREY, label="if gains added")
    for row, label in ((0, "A off"), (1, "A on")):
        ax.plot([0, 1], means[row], label=label, **plots.look(row))
    ax.set(xlim=(-0.15, 1.15), ylim=(33, 61), ylabel="accuracy (%)")
    ax.set_xticks([0, 1], ["B off", "B on"])
    ax.set_title(
        f"effects: A {a:+.1f}, B {b:+.1f}, interaction {both:+.1f}\n{it.diagnose(means, 0.25)}"
        " (cells known to ±0.25)"
    )
    ax.legend(loc="upper left", ncols=3)
    return fig


def forest(ax: Axes, by_seed: Tensor, most: int = 2) -> None:
    """Draw effects up to an order, largest first, with single and simultaneous 95 % intervals.

    The thinner interval is simultaneous: one for all of those drawn.

    Args:
        ax: where to draw.
        by_seed: (n, 2^k) the effects of every seed.
        most: factors in the largest word drawn.
    """
    order, words, n = it.orders(len(TRICKS)), it.words(TRICKS), len(by_seed)
    shown = sorted(
        (s for s in range(1, len(words)) if order[s] <= most),
        key=lambda s: abs(by_seed[:, s].mean()),
    )
    clear = it.holm(p_values(by_seed[:, shown])) < 0.05
    for row, s in enumerate(shown):
        found = compare.interval(by_seed[:, s])
        error, i = by_seed[:, s].std().item() / n**0.5, int(order[s]) - 1
        wide = stats.t.isf(0.025 / len(shown), n - 1) * error
        ax.plot(
            [found.estimate - wide, found.estimate + wide], [row, row], color=plots.COLOURS[i], lw=1
        )
        ax.plot(
            [found.low, found.high],
            [row, row],
            color=plots.COLOURS[i],
            lw=3.5,
            solid_capstyle="butt",
        )
        ax.plot(
            found.estimate,
            row,
            marker=plots.MARKERS[i],
            color=plots.COLOURS[i],
            ms=6,
            mfc=plots.COLOURS[i] if clear[row] else "white",
        )
    ax.axvline(0, color="#444444", lw=1)
    ax.set_yticks(range(len(shown)), [words[s] for s in shown])
    ax.set(xlabel="effect on test accuracy (percentage points)", ylim=(-0.7, len(shown) - 0.3))
    for i, label in enumerate(("main effect", "interaction of two")):
        ax.plot([], [], marker=plots.MARKERS[i], color=plots.COLOURS[i], lw=3.5, label=label)
    ax.plot([], [], marker="o", mfc="white", color=GREY, ls="", label="not clear of zero (Holm)")
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.42, 1.0), ncols=3, fontsize=9, columnspacing=1.2
    )


def interaction_plot(ax: Axes, y: Tensor, a: str, b: str) -> None:
    """Draw the interaction plot of two tricks, means over the other three with 95 % intervals."""
    on = it.design(len(TRICKS)) > 0
    for i, state in enumerate((False, True)):
        rows = on[:, TRICKS.index(a)] == state
        points = [
            compare.interval(y[:, rows & (on[:, TRICKS.index(b)] == other)].mean(1))
            for other in (False, True)
        ]
        ax.errorbar(
            [0, 1],
            [v.estimate for v in points],
            [v.high - v.estimate for v in points],
            label=f"{a} {'on' if state else 'off'}",
            capsize=3,
            **plots.look(i),
        )
    ax.set_xticks([0, 1], [f"{b} off", f"{b} on"])
    ax.set(xlim=(-0.2, 1.2), ylabel="test accuracy (%)")
    ax.legend()


def train_against_test(ax: Axes, train: Tensor, test: Tensor) -> None:
    """Draw test against training accuracy of every cell, both (n, 32).

    Colour and marker say how many tricks are on.
    """
    x, y = train.mean(0), test.mean(0)
    for count in range(len(TRICKS) + 1):
        cells = [cell for cell in range(len(x)) if cell.bit_count() == count]
        ax.plot(
            x[cells],
            y[cells],
            ls="",
            marker=plots.MARKERS[count],
            color=plots.COLOURS[count],
            ms=6.5,
            alpha=0.9,
            label=f"{count} trick{'s' * (count != 1)}",
        )
    best = int(y.argmax())
    for cell, shift in ((0, (-6, -12)), (best, (0, 8)), (len(x) - 1, (6, -3))):
        ax.annotate(
            cell_name(cell) if cell < len(x) - 1 else "all five",
            (x[cell], y[cell]),
            shift,
            textcoords="offset points",
            fontsize=9,
            ha="center" if cell == best else "right" if cell == 0 else "left",
        )
    ax.set(xlabel="training accuracy (%)", ylabel="test accuracy (%)")
    ax.margins(x=0.06, y=0.1)
    ax.legend(ncols=2, fontsize=9)


def interaction_share_over_epochs(ax: Axes, courses: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Draw the interactions' share of the variance between cells over epochs.

    The data are {label: {epoch: (n, 32)}}.
    """
    for i, (label, course) in enumerate(courses.items()):
        found = [
            compare.interval(it.pseudo_values(it.interaction_share, it.effects(y)))
            for y in course.values()
        ]
        plots.band(ax, list(course), found, label, i)
    ax.axhline(0.1, color=GREY, ls=":", label="0.1, the bar of the criteria")
    ax.set(xlabel="epoch", ylabel="share that is interaction", ylim=(0, None))
    ax.legend()


def draw_strategies(ax: Axes, valid: Tensor, test: Tensor) -> None:
    """Draw the test accuracy of each strategy's cell, chosen by all seeds and by single seeds.

    Args:
        ax: where to draw.
        valid: (m, 32) what the choice is made on.
        test: (n, 32) what it is judged on; other seeds, other signals.
    """
    means, alone = test.mean(0), [selection_strategies(seed[None]) for seed in valid]
    labels = []
    for row, (how, (cost, cell)) in enumerate(selection_strategies(valid).items()):
        around = compare.interval(test[:, cell])
        single = [means[found[how][1]].item() for found in alone]
        below = [row - 0.2 - 0.07 * single[:i].count(x) for i, x in enumerate(single)]
        ax.plot(single, below, ls="", marker="s", ms=2.5, color=plots.COLOURS[1])
        ax.plot(
            [around.low, around.high],
            [row, row],
            lw=3.5,
            color=plots.COLOURS[0],
            solid_capstyle="butt",
        )
        ax.plot(around.estimate, row, marker="o", ms=6, color=plots.COLOURS[0])
        labels.append(f"{how} ({cost} cell{'s' * (cost != 1)})")
        ax.annotate(
            cell_name(cell) if cell.bit_count() < len(TRICKS) else "all five",
            (around.estimate, row),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="test accuracy (%)", ylim=(-0.8, len(labels) - 0.3))
    ax.plot(
        [],
        [],
        marker="o",
        lw=3.5,
        color=plots.COLOURS[0],
        label="chosen by all seeds of the search",
    )
    ax.plot(
        [],
        [],
        ls="",
        marker="s",
        ms=2.5,
        color=plots.COLOURS[1],
        label="chosen by one seed, a dot each",
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2, fontsize=9)


def cell_explorer(y: Tensor) -> Callable[..., Figure]:
    """Return a function of five switches that draws their cell and each switch's effect there."""
    means = y.mean(0)
    order = means.argsort(descending=True).tolist()
    around = [compare.interval(y[:, cell]) for cell in order]

    def draw(
        norm: str = "off",
        decay: str = "off",
        dropout: str = "off",
        crop: str = "off",
        mixup: str = "off",
    ) -> Figure:
        cell = sum(
            (state == "on") << j for j, state in enumerate((norm, decay, dropout, crop, mixup))
        )
        fig, axes = _framed(2, width=7.4, height=3.3, left=0.09, wspace=0.36)
        _ranked(axes[0], around, order.index(cell), cell_name(cell))
        _switches(axes[1], y, cell)
        return fig

    return draw


def _ranked(ax: Axes, around: list[Interval], at: int, label: str) -> None:
    ax.vlines(
        range(len(around)), [v.low for v in around], [v.high for v in around], color=GREY, lw=2
    )
    ax.plot([v.estimate for v in around], ls="", marker="o", ms=3, color=GREY)
    here = around[at]
    ax.plot([at, at], [here.low, here.high], color=plots.COLOURS[1], lw=3)
    ax.plot(at, here.estimate, marker="D", color=plots.COLOURS[1], ms=7)
    ax.set(xlabel="cells, best first", ylabel="test accuracy (%)", xticks=[0, 7, 15, 23, 31])
    ax.set_xticklabels(["1", "8", "16", "24", "32"])
    ax.set_title(
        f"{label}\n{here.estimate:.1f} % ({here.low:.1f} to {here.high:.1f}), place {at + 1} of"
        f" {len(around)}",
        fontsize=9.5,
    )


def _switches(ax: Axes, y: Tensor, cell: int) -> None:
    """Draw the paired change, with intervals, that switching each trick would bring."""
    found = []
    for j, trick in enumerate(TRICKS):
        on, gain = bool(cell >> j & 1), simple_effect(y, trick, cell)
        v = compare.interval(-gain if on else gain)
        found.append((v.estimate, f"{trick} {'off' if on else 'on'}"))
        ax.plot([v.low, v.high], [-j, -j], color=plots.COLOURS[0], lw=3)
        ax.plot(v.estimate, -j, marker="o", color=plots.COLOURS[0], ms=6)
    ax.axvline(0, color="#444444", lw=1)
    ax.set_yticks([-j for j in range(len(TRICKS))], [label for _, label in found])
    every = torch.cat(
        [
            simple_effect(y, trick, other).mean()[None]
            for trick in TRICKS
            for other in range(y.shape[1])
        ]
    )
    reach = float(every.abs().max()) + 2.5
    ax.set(xlim=(-reach, reach), xlabel="change of accuracy (points)")
    gain, move = max(found)
    ax.set_title(f"best switch from here:\n{move} ({gain:+.1f})", fontsize=9.5)
