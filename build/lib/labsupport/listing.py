"""Show a function of this package in a notebook: the code itself, never a copy of it."""

import ast
import inspect
import textwrap
from collections.abc import Callable

from IPython.display import Markdown


def listing(*functions: Callable) -> Markdown:
    """The source of functions without their docstrings, as highlighted code."""
    return Markdown("\n".join(f"```python\n{_without_docstring(f)}\n```" for f in functions))


def _without_docstring(function: Callable) -> str:
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    body = ast.parse(source).body[0].body
    lines = source.splitlines()
    if ast.get_docstring(ast.parse(source).body[0]) is not None:
        del lines[body[0].lineno - 1 : body[0].end_lineno]
    return "\n".join(lines)
