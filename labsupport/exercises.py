"""The catalogue of exercises: ``topics/<topic>/exercises.py`` each has a tuple ``EXERCISES``.

A topic is in the catalogue when its folder has that file; nothing else has to know of it. The file
is imported when one of its exercises is asked for. In a notebook::

    from labsupport.exercises import check
    check("weight_decay.sgd_step", sgd_step)
"""

import difflib
import importlib
from pathlib import Path
from typing import Any

from labsupport.grading.check import judge
from labsupport.grading.exercise import Exercise, Outcome

__all__ = ["UnknownExercise", "catalogue", "check", "load", "topics"]


class UnknownExercise(ValueError):
    """Raised when no exercise has this id."""


def check(id: str, function: Any) -> Outcome:
    """Check an answer and show what was found.

    Args:
        id: the exercise, ``topic.function``.
        function: the answer: the function itself, not a call of it.

    Returns:
        The outcome; a notebook shows it as a card.

    Raises:
        UnknownExercise: if there is no such exercise. Nothing the answer does is raised.
    """
    return judge(load(id), function)


def load(id: str) -> Exercise:
    """Return the exercise with this id.

    Raises:
        UnknownExercise: if there is none; the message names the ids that are close.
    """
    topic = str(id).partition(".")[0]
    found = [
        exercise for exercise in (_of(topic) if topic in topics() else ()) if exercise.id == id
    ]
    if found:
        return found[0]
    ids = [exercise.id for name in topics() for exercise in _of(name)]
    near = difflib.get_close_matches(str(id), ids, n=3, cutoff=0.5) or ids
    raise UnknownExercise(f"there is no exercise {id!r}; near it are {', '.join(near)}")


def topics() -> tuple[str, ...]:
    """List the topics that have exercises."""
    return tuple(
        sorted(
            path.parent.name for path in (Path(__file__).parent / "topics").glob("*/exercises.py")
        )
    )


def catalogue() -> list[dict[str, Any]]:
    """List every exercise as plain data, misconceptions and alternatives by name."""
    return [
        {
            "id": exercise.id,
            "chapter": exercise.topic,
            "points": exercise.points,
            "misconceptions": [m.name for m in exercise.misconceptions],
            "alternatives": [answer.__name__ for answer in exercise.alternatives],
        }
        for name in topics()
        for exercise in _of(name)
    ]


def _of(topic: str) -> tuple[Exercise, ...]:
    return importlib.import_module(f"labsupport.topics.{topic}.exercises").EXERCISES
