"""The nouns of grading: an exercise, its known wrong answers, and the outcome of a check."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labsupport.grading import card

NOT_ATTEMPTED, INCORRECT, CORRECT = "not attempted", "incorrect", "correct"
NOT_JUDGED = "not judged"  # for what the machine did, or the check itself


@dataclass(frozen=True)
class Misconception:
    """A wrong answer that students really give: the reference with one thing wrong.

    Args:
        answer: the wrong function; its docstring is the hint and speaks to the student ("You ...").
        section: the heading of the book's section that mends it, word for word. Where the section
            is on another page than the exercise's, ``page#heading``, as in
            ``05_standardization#Whose mean is it?``.
    """

    answer: Callable
    section: str

    @property
    def name(self) -> str:
        return self.answer.__name__

    @property
    def hint(self) -> str:
        return " ".join((self.answer.__doc__ or "").split())


def known(section: str, *answers: Callable) -> tuple[Misconception, ...]:
    """Group the wrong answers that one section of the chapter mends."""
    return tuple(Misconception(answer, section) for answer in answers)


@dataclass(frozen=True, eq=False)
class Exercise:
    """One autograded exercise.

    Args:
        id: ``topic.function``; the second half is the function's name in the notebook.
        title: a few words for lists and cards.
        reference: the function that the student rebuilds; pure.
        inputs: a Hypothesis strategy of keyword arguments. The first of each choice should be the
            simplest one, so that a failure shrinks to something that can be checked by hand.
        misconceptions: known wrong answers, at least three.
        alternatives: right answers written differently, at least one.
        points: what a correct answer earns.
        section: the heading of the book's section where the idea is, as in Misconception.
        returns: the names of what is returned, for the words of a message.
        keeps_dtype: whether the text asks for a dtype, or for indices; then another one is wrong,
            and so is a difference of a few float32 roundings between values in float64. Without it
            the numbers count and not the dtype they come in.
    """

    id: str
    title: str
    reference: Callable
    inputs: Any
    misconceptions: tuple[Misconception, ...]
    alternatives: tuple[Callable, ...]
    points: int
    section: str
    returns: tuple[str, ...] = ()
    keeps_dtype: bool = False

    def __post_init__(self) -> None:
        if "." not in self.id:
            raise ValueError(f"the id is {self.id!r}; it must be topic.function")
        if len(self.misconceptions) < 3 or not self.alternatives:
            raise ValueError(
                f"{self.id} has {len(self.misconceptions)} misconceptions and "
                f"{len(self.alternatives)} alternatives; it needs at least 3 and 1"
            )

    @property
    def topic(self) -> str:
        return self.id.partition(".")[0]

    @property
    def function(self) -> str:
        return self.id.partition(".")[2]


@dataclass(frozen=True)
class Counterexample:
    """The smallest failure that was found, as text: the call, what is right, what came back."""

    call: str
    expected: str
    yours: str | None


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a check found; it shows itself in a notebook and in a terminal.

    While nbgrader executes a notebook, the text is the points alone (nbgrader reads partial credit
    from it) and the feedback is in the Markdown.
    """

    exercise: str
    title: str
    status: str
    points: float
    of: int
    reason: str
    message: str
    misconception: str | None = None
    hint: str | None = None
    section: str | None = None
    counterexample: Counterexample | None = None
    lines: tuple[str, ...] = ()
    printed: str = ""

    def __repr__(self) -> str:
        return repr(float(self.points)) if _nbgrader_is_grading() else card.as_text(self)

    def _repr_html_(self) -> str | None:
        return None if _nbgrader_is_grading() else card.as_html(self)

    def _repr_markdown_(self) -> str | None:
        return card.as_markdown(self) if _nbgrader_is_grading() else None


def _nbgrader_is_grading() -> bool:
    return bool(os.environ.get("NBGRADER_EXECUTION"))
