"""An outcome shows itself: a card in the notebook, text in a terminal, a number for nbgrader."""

import dataclasses
import re
import signal
from html.parser import HTMLParser

import pytest
import torch

from labsupport.grading.check import judge

OPEN_BY_NATURE = {"br", "img", "hr"}


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.stack = []

    def handle_starttag(self, tag, attributes):
        if tag not in OPEN_BY_NATURE:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def stub(x, *, by):
    raise NotImplementedError


def right(x, *, by):
    return by * x


def wrong(x, *, by):
    print("a <b> & $x$")
    return x / by


def broken(x, *, by):
    return x + "<script>alert(1)</script>"


def interrupted(x, *, by):
    signal.raise_signal(signal.SIGINT)


ANSWERS = {
    "not attempted": stub,
    "correct": right,
    "incorrect": wrong,
    "not judged": interrupted,
}


@pytest.mark.parametrize("status, answer", ANSWERS.items())
def test_the_status_stands_in_words_on_card_and_text(single, status, answer):
    outcome = judge(single, answer)
    assert f">{status.capitalize()}<" in outcome._repr_html_()
    assert f"sample.scaled: {status}, {outcome.points:g} of 2 points" in repr(outcome)
    assert outcome._repr_markdown_() is None


def test_card_and_text_show_hint_section_counterexample_and_both_values(single):
    outcome = judge(single, wrong)
    for shown in (outcome._repr_html_(), repr(outcome)):
        for word in (
            "You divided: multiply.",
            "How it fails",
            "scaled(x=torch.tensor([1.]), by=2.0)",
            "tensor([2.])",
            "tensor([0.5])",
        ):
            assert word in shown


@pytest.mark.parametrize("answer", [stub, right, wrong, broken])
def test_a_card_is_well_formed_and_asks_nothing_of_the_network(single, answer):
    html = judge(single, answer)._repr_html_()
    balance = Balance()
    balance.feed(html)
    assert balance.stack == []
    assert not re.search(r"https?:|//|url\(|<script|@import|src=", html)


def test_the_section_is_a_link_to_its_heading(single):
    assert '<a href="#How-it-fails">How it fails</a>' in judge(single, wrong)._repr_html_()
    assert 'See the section "How it fails".' in repr(judge(single, wrong))


def test_a_section_of_another_page_is_named_with_its_page(single):
    exercise = dataclasses.replace(single, section="05_standardization#Whose mean is it?")
    outcome = judge(exercise, stub)
    link = '<a href="05_standardization.ipynb#Whose-mean-is-it?">Whose mean is it?</a>'
    assert f"{link} of 05_standardization." in outcome._repr_html_()
    assert 'See the section "Whose mean is it?" of 05_standardization.' in repr(outcome)


def test_what_the_student_writes_is_escaped(single):
    assert "a &lt;b&gt; &amp; $x$" in judge(single, wrong)._repr_html_()


@pytest.mark.parametrize("mode", ["autograde", "validate"])
@pytest.mark.parametrize("status, answer", ANSWERS.items())
def test_for_nbgrader_the_text_is_the_points_and_the_markdown_the_feedback(
    single, monkeypatch, capfd, mode, status, answer
):
    monkeypatch.setenv("NBGRADER_EXECUTION", mode)
    outcome = judge(single, answer)
    assert repr(outcome) == ("2.0" if status == "correct" else "0.0")
    assert outcome._repr_html_() is None
    assert status in outcome._repr_markdown_()
    assert capfd.readouterr() == ("", "")


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_ink_stands_out_from_its_ground_in_light_and_dark(single):
    style = re.search(r"<style>(.*?)</style>", judge(single, right)._repr_html_()).group(1)
    bodies = re.findall(r"\{(.*?)\}", style)
    rules = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", body)) for body in bodies]
    light, correct, waiting, dark, dark_correct, dark_waiting = [rule for rule in rules if rule]
    for base, marks in (
        (light, (light, correct, waiting)),
        (dark, (dark, dark_correct, dark_waiting)),
    ):
        for ground in ("paper", "inset"):
            assert _contrast(base["ink"], base[ground]) >= 7
            assert _contrast(base["soft"], base[ground]) >= 5
        for mark in marks:
            assert _contrast(mark["mark"], mark.get("on-mark", base["on-mark"])) >= 5


def test_a_large_answer_is_named_by_its_shape(single):
    outcome = judge(single, lambda x, *, by: torch.zeros(1000, 1000))
    assert "a tensor of shape (1000, 1000)" in repr(outcome)
    assert len(repr(outcome)) < 1000
