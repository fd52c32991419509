"""What a result depends on: the code and the values that an object reaches, wherever defined.

A stored result is right as long as nothing that made it has changed. Names are followed as Python
follows them: from a function to the globals, defaults and closures that it uses, from a class to
its methods and bases, from a record to its fields. Code of one's own (this package, a notebook's
cells, a module in the working folder) is followed and enters as its bytecode, so a comment or a
docstring changes nothing. Code of an installed library enters as the library's version.

One tracker, two uses: ``digest`` keys the result of a study in a running process, from what is
really loaded there; ``places`` lists which definitions of the package a notebook reached, so that
the book can see from the sources alone, without importing them, whether a page is out of date.

Convention: a lower-case global of this package that holds something mutable is state (a pool, a
lock, a register) and no part of a digest; constants are upper-case.
"""

import builtins
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import pathlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

_NOWHERE = object()
PACKAGE = __name__.partition(".")[0]
PLAIN = (bool, int, float, complex, str, bytes, range, slice, type(None), type(...))
LEAVES = (torch.dtype, torch.device, torch.Size, torch.layout, pathlib.PurePath, np.dtype)
CONTAINERS = (tuple, list, set, frozenset, dict)
UNCHANGING = (
    *(types.FunctionType, types.ModuleType, types.BuiltinFunctionType, type),
    *(tuple, frozenset, torch.Tensor, np.ndarray, *LEAVES),
)
"""What a lower-case global of this package may be without being state; see the convention."""
NOT_CODE = frozenset(
    "__annotations__ __dataclass_fields__ __dataclass_params__ __dict__ __doc__ __firstlineno__ "
    "__module__ __orig_bases__ __parameters__ __qualname__ __static_attributes__ __weakref__ "
    "__abstractmethods__ _abc_impl __annotations_cache__ __annotate_func__".split()
)
"""What a class carries beside what it does."""


class Untraceable(TypeError):
    """Raised for an object that cannot be described in the same way in another process."""


def digest(*roots: Any) -> str:
    """Digest the roots and all that they reach; the same in every process.

    Args:
        roots: functions, classes, records, plain data, tensors, or containers of them.

    Raises:
        Untraceable: if a root reaches an object that has no content to compare, an open file
            for one; the message names it.
    """
    reach = Reach()
    values = [reach.describe(root) for root in roots]
    code = [_hash(repr(part)) for part in reach.follow()]
    return _hash(repr((values, code, reach.versions())))


def places(*roots: Any) -> list[tuple[str, str]]:
    """List the definitions of this package that the roots reach.

    Args:
        roots: as in ``digest``, and code objects with their globals, ``(code, namespace)``; values
            are looked at for the code that they bring along, not for their content.

    Returns:
        Sorted pairs of a file, relative to the package, and a name at its top level; the name is
        empty for the lines of a module that define nothing, its imports for one.
    """
    reach = Reach(contents=False)
    for root in roots:
        if isinstance(root, tuple) and len(root) == 2 and isinstance(root[0], types.CodeType):
            reach.code(*root)
        else:
            reach.describe(root)
    for _ in reach.follow():
        pass
    return sorted(reach.definitions)


class Reach:
    """Everything that some objects reach; each function, class and module is visited once.

    A value is described by its content, a piece of code by its name and by how many were met before
    it: two functions of one name that change places are told apart, and a cycle comes to an end.

    Args:
        contents: whether the content of values counts (True), or only the code behind them.
    """

    def __init__(self, contents: bool = True) -> None:
        self.contents = contents
        self.definitions: set[tuple[str, str]] = set()
        self.libraries: set[str] = set()
        self.met: list[Any] = []
        self._order: dict[int, int] = {}
        self._objects: dict[int, tuple[int, Any]] = {}
        self._inside: set[int] = set()

    def follow(self) -> Iterator[Any]:
        """Visit the queued code and all that it reaches; yield what each piece does."""
        for item in self.met:  # it grows on the way
            if isinstance(item, types.FunctionType):
                yield self._function(item)
            else:
                yield (
                    self._module(item) if isinstance(item, types.ModuleType) else self._class(item)
                )

    def versions(self) -> list[str]:
        """List the libraries met so far, with their versions."""
        return sorted(f"{name}=={_version(name)}" for name in self.libraries)

    # -- values ------------------------------------------------------------------------------------

    def describe(self, value: Any) -> Any:
        """Describe a value by text that is the same in every process, and queue its code."""
        if isinstance(value, types.FunctionType | types.ModuleType | type):
            return self._meet(value)
        if id(value) in self._inside:
            return "itself"
        self._inside.add(id(value))
        try:
            return self._describe(value)
        finally:
            self._inside.discard(id(value))

    def _describe(self, value: Any) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return repr((kind.__name__, value)) if self.contents else ""
        if isinstance(value, LEAVES):
            return repr(value)
        if kind in CONTAINERS:
            return self._container(value)
        if isinstance(value, enum.Enum):
            return self.describe(kind), value.name
        wrapped = _unwrapped(value)
        if wrapped:
            return kind.__name__, [self.describe(part) for part in wrapped]
        if isinstance(value, torch.Tensor):
            return self.describe(kind), self._tensor(value)
        if isinstance(value, np.ndarray):
            return self._bytes(value.tobytes(), value.dtype.str, value.shape)
        if isinstance(value, torch.Generator):
            return self._bytes(value.get_state().numpy().tobytes(), "torch.Generator")
        if dataclasses.is_dataclass(value):
            fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
            return self.describe(kind), [(name, self.describe(part)) for name, part in fields]
        if callable(value) and not _is_own(_module_of(kind)):
            return self._library_callable(value)
        return self._object(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            parts = [(self.describe(k), self.describe(v)) for k, v in value.items()]
        else:
            in_order = isinstance(value, tuple | list)
            parts = [self.describe(part) for part in (value if in_order else _ordered(value))]
        return type(value).__name__, parts

    def _tensor(self, value: torch.Tensor) -> Any:
        if not self.contents:
            return ""
        data = value.detach().cpu().contiguous()
        content = data.view(torch.uint8) if data.dim() else data.reshape(1).view(torch.uint8)
        return self._bytes(content.numpy().tobytes(), str(value.dtype), tuple(value.shape))

    def _bytes(self, content: bytes, *labels: Any) -> Any:
        return (*labels, _hash(content)) if self.contents else labels

    def _library_callable(self, value: Any) -> Any:
        """Describe a built-in function, a ufunc or an operator by its name and version."""
        module, name = _module_of(value), getattr(value, "__name__", None)
        self._library(module or _module_of(type(value)))
        if name is None:
            return self._object(value)
        owner = getattr(value, "__self__", None)
        if not module and owner is not None:  # a method of a built-in object
            return name, self.describe(owner)
        return module, getattr(value, "__qualname__", name)

    def _object(self, value: Any) -> Any:
        """Describe any other object: its class and the state that pickle would store."""
        kind = self.describe(type(value))
        if not self.contents:
            return kind
        if id(value) in self._objects:  # held by several: described where it was met first
            return kind, self._objects[id(value)][0]
        self._objects[id(value)] = len(self._objects), value  # kept, so that none takes its id
        try:
            how, *state = value.__reduce_ex__(4)[:5]
        except Exception as error:
            raise Untraceable(
                f"{_name(type(value))}: nothing can tell whether an object of this class is the "
                f"same another time ({error})"
            ) from error
        listed = [list(part) if isinstance(part, Iterator) else part for part in state]
        return kind, self.describe(how), [self.describe(part) for part in listed]

    # -- code --------------------------------------------------------------------------------------

    def _meet(self, item: Any) -> tuple[str, int | None]:
        """Queue own code or note the library of any other; return its name and its number."""
        module = _module_of(item)
        wraps = isinstance(item, types.FunctionType) and _brings_code(item)
        if not _is_own(module) and not wraps:
            self._library(module)
            return _name(item), None
        if id(item) not in self._order:
            self._order[id(item)] = len(self.met)
            self.met.append(item)
        return _name(item), self._order[id(item)]

    def _library(self, module: str) -> None:
        top = module.partition(".")[0]
        if top and not _is_own(module) and top not in sys.stdlib_module_names:
            self.libraries.add(top)

    def _function(self, function: types.FunctionType) -> Any:
        module = function.__globals__.get("__name__", "")
        if not _is_own(module):  # a library's wrapper around code of one's own
            self._library(module)
            return self._attached(function)
        self._place(module, function.__code__.co_qualname)
        return self.code(function.__code__, function.__globals__), self._attached(function)

    def _attached(self, function: types.FunctionType) -> Any:
        """Describe a function's defaults, closure and wrapped function."""
        closure = [_content(cell) for cell in function.__closure__ or ()]
        wrapped = getattr(function, "__wrapped__", None)
        parts = (function.__defaults__, function.__kwdefaults__, closure, wrapped)
        return [self.describe(part) for part in parts]

    def code(self, code: types.CodeType, namespace: Mapping[str, Any]) -> Any:
        """Describe what code does and what its names mean in the namespace."""
        self._place(namespace.get("__name__", ""), "")
        used = {}
        for chain in _chains(code):
            value = self._resolve(chain, namespace)
            used[".".join(chain)] = self.describe(value)
        return _fingerprint(code), sorted(used.items(), key=repr)

    def _resolve(self, chain: tuple[str, ...], namespace: Mapping[str, Any]) -> Any:
        """Resolve a name with its attributes, as far as they lead through modules."""
        first, *rest = chain
        if first.startswith("import "):
            module = first.removeprefix("import ")
            if not _is_own(module):  # not imported here: that can take seconds
                self._library(module)
                return ".".join((module, *rest))
            value = _import(module)
        elif first in namespace:
            value = namespace[first]
        else:
            return getattr(builtins, first, f"no {first}")
        owner, name = namespace.get("__name__", ""), first
        self._place(owner, name)
        for name in rest:
            if not isinstance(value, types.ModuleType):
                break
            owner = value.__name__
            self._library(owner)
            self._place(owner, name)
            found = getattr(value, name, _NOWHERE)
            value = _import(f"{owner}.{name}") if found is _NOWHERE else found
        if owner and not _is_own(owner) and not _is_own(_module_of(value)):
            return f"{owner}.{name}"  # a library's own: its version says all
        return f"state {name}" if _is_state(owner, name, value) else value

    def _class(self, kind: type) -> Any:
        self._place(kind.__module__, kind.__qualname__)
        declared = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        fields = [(f.name, f.default, dict(f.metadata)) for f in declared]
        members = [(k, v) for k, v in vars(kind).items() if k not in NOT_CODE]
        return (
            [self.describe(base) for base in kind.__bases__],
            [(name, self.describe(_member(value))) for name, value in sorted(members)],
            self.describe(fields),
        )

    def _module(self, module: types.ModuleType) -> Any:
        """Describe a module that is passed as a value by all that it defines."""
        named = {
            name: value
            for name, value in vars(module).items()
            if not name.startswith("__") and not _is_state(module.__name__, name, value)
        }
        own = {
            name: value
            for name, value in named.items()
            if getattr(value, "__module__", module.__name__) == module.__name__
            and not isinstance(value, types.ModuleType)
        }
        for name in own:
            self._place(module.__name__, name)
        return [(name, self.describe(value)) for name, value in sorted(own.items())]

    def _place(self, module: str, name: str) -> None:
        """Note a definition of this package by its file and its top-level name."""
        if module.partition(".")[0] == PACKAGE and (file := _file(module)):
            self.definitions.add((file, ""))
            top = name.partition(".")[0]
            self.definitions.add((file, "" if top.startswith("<") else top))


# -- names and modules -----------------------------------------------------------------------------


def _ordered(values: set | frozenset) -> list[Any]:
    """Sort the items of a set into an order that is the same in every process."""
    return sorted(values, key=lambda item: repr(item) if type(item) in PLAIN else _name(item))


def _name(item: Any) -> str:
    name = getattr(item, "__qualname__", None) or getattr(item, "__name__", type(item).__name__)
    return f"{_module_of(item)}:{name}"


def _module_of(item: Any) -> str:
    """Find the module that defines the code; a wrapper has the name of what it wraps."""
    if isinstance(item, types.FunctionType):
        return item.__globals__.get("__name__") or ""
    if isinstance(item, types.ModuleType):
        return item.__name__
    module = getattr(item, "__module__", None)
    return module if isinstance(module, str) else ""


@functools.cache
def _is_own(module: str) -> bool:
    """Tell whether a module is neither Python's nor an installed library's."""
    top = module.partition(".")[0]
    if top in (PACKAGE, "__main__", ""):
        return bool(top)
    if top in sys.stdlib_module_names:
        return False
    file = _origin(top)
    return not file or not {"site-packages", "dist-packages"} & set(pathlib.Path(file).parts)


def _origin(top: str) -> str | None:
    """Find the file of a top-level module without importing it."""
    if top in sys.modules:
        return getattr(sys.modules[top], "__file__", None)
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    return found.origin if found else None


def _file(module: str) -> str | None:
    """Return the file of a module of this package, relative to the package."""
    path = getattr(sys.modules.get(module), "__file__", None)
    home = pathlib.Path(__file__).parent
    return str(pathlib.Path(path).relative_to(home)) if path else None


@functools.cache
def _version(library: str) -> str:
    """Return the versions of the distributions that provide a library."""
    names = _distributions().get(library, [])
    return " ".join(sorted({importlib.metadata.version(name) for name in names})) or "?"


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _import(name: str) -> Any:
    """Import an own module, or an object in one, that code imports when it runs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
        return getattr(_import(module), attribute, f"no {name}") if module else f"no {name}"


def _is_state(module: str, name: str, value: Any) -> bool:
    """Tell whether a global of this package is state: lower-case and mutable."""
    if module.partition(".")[0] != PACKAGE or not name.lstrip("_")[:1].islower():
        return False
    if dataclasses.is_dataclass(value):
        settings = getattr(value, "__dataclass_params__", None)
        return not isinstance(value, type) and not getattr(settings, "frozen", False)
    return not (isinstance(value, UNCHANGING) or type(value) in PLAIN or _unwrapped(value))


# -- pieces of code --------------------------------------------------------------------------------


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "empty"


def _brings_code(part: Any, depth: int = 5) -> bool:
    """Tell whether a library's function wraps, or closes over, own code."""
    if isinstance(part, types.FunctionType | type) and _is_own(_module_of(part)):
        return True
    if dataclasses.is_dataclass(part):
        return _is_own(_module_of(part))
    held = list(_unwrapped(part))
    if isinstance(part, types.FunctionType):
        held += [_content(cell) for cell in part.__closure__ or ()]
        held += [getattr(part, "__wrapped__", None)]
    return depth > 0 and any(_brings_code(inner, depth - 1) for inner in held)


def _unwrapped(value: Any) -> tuple[Any, ...]:
    """Return what a wrapper holds: bound methods, partial and cached functions."""
    if isinstance(value, types.MethodType):
        return value.__self__, value.__func__
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, functools._lru_cache_wrapper):
        return (value.__wrapped__,)
    if type(value).__module__ == "contextlib" and isinstance(
        getattr(value, "func", None), types.FunctionType
    ):
        return value.func, value.args, value.kwds
    return ()


def _member(value: Any) -> Any:
    """Return the functions behind a class member, a method's or a property's."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, functools.cached_property):
        return value.func
    slot = inspect.isdatadescriptor(value)  # of a named tuple, for one
    return type(value).__name__ if slot else value


_TAKES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_GOES_ON = ("LOAD_ATTR", "LOAD_METHOD")
_HAS_DOCSTRING = 0x4000000
"""A flag of Python 3.13; whether there is a docstring changes nothing."""


@functools.cache
def _chains(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """List the outside names that code and its inner code use, each with its attributes.

    A name bound by an import at the top level is found where it is used; one that a function
    imports is followed from the import, for what becomes of a local name is not.
    """
    steps = list(dis.get_instructions(code))
    found: list[tuple[str, ...]] = []
    goes_on = False
    module = ""
    for step, after in itertools.zip_longest(steps, steps[1:]):
        if step.opname in _TAKES:
            found.append((step.argval,))
        elif step.opname in _GOES_ON and goes_on:
            found[-1] = (*found[-1], step.argval)
        elif step.opname == "IMPORT_NAME":
            module = f"import {step.argval}"
            if after.opname in ("STORE_FAST", "STORE_DEREF"):
                found.append((module,))
        elif step.opname == "IMPORT_FROM" and after.opname in ("STORE_FAST", "STORE_DEREF"):
            found.append((module, step.argval))
        goes_on = step.opname in (*_TAKES, *_GOES_ON) and (step.opname in _TAKES or goes_on)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found += _chains(const)
    return tuple(dict.fromkeys(found))


@functools.cache
def _fingerprint(code: types.CodeType) -> str:
    """Hash what code does, whatever its file, lines, comments and docstring."""
    steps = [(step.opname, _argument(step.argval)) for step in dis.get_instructions(code)]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    flags = code.co_flags & ~_HAS_DOCSTRING
    return _hash(repr((steps, arguments, counts, flags, code.co_exceptiontable)))


def _argument(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _fingerprint(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return type(value).__name__, repr(value)


def _hash(content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(content, digest_size=12).hexdigest()
