"""Show the code of a function of this package in a notebook, never a copy of it."""

import ast
import inspect
import textwrap
from collections.abc import Callable

from IPython.display import Markdown


def listing(*functions: Callable) -> Markdown:
    """Show the source of functions without their docstrings, as highlighted code."""
    return Markdown("\n".join(f"```python\n{_without_docstring(f)}\n```" for f in functions))


def _without_docstring(function: Callable) -> str:
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)  # what else has a source of its own?
    lines = source.splitlines()
    if ast.get_docstring(node) is not None:
        del lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
    return "\n".join(lines)
