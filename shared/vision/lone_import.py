"""Import one module of a library without what the library's packages would import.

`import a.b.c` runs the __init__ of a and of a.b first, and those may import half of PyPI.
Here packages stand without running their __init__ (they must have one), and the library
sees, beside itself and the standard library, only what it is shown. drift.py imports
alibi-detect in this way.

sys.modules and sys.meta_path are not touched, not even for a moment: the modules get an
`__import__` of their own, which Python looks up in the `__builtins__` of the importing
module's globals. So torch and the like are hidden from the library and from nobody else.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, resolve_name
from types import ModuleType


def import_alone(
    name: str, shown: frozenset[str], stand_ins: Mapping[str, Mapping[str, object]]
) -> ModuleType:
    """Return a module that nobody else sees, new with every call.

    shown: packages of others that it may import.
    stand_ins: by module, what `from module import name` gives in place of the real thing.
    Raises:
        ImportError: the module is not there, or asks for more than it is shown.
    """
    return _Library(name.partition(".")[0], shown, stand_ins).module(name)


class _Library:
    """The modules of one library that are loaded so far."""

    def __init__(
        self, name: str, shown: frozenset[str], stand_ins: Mapping[str, Mapping[str, object]]
    ) -> None:
        self._name = name
        self._shown = shown | sys.stdlib_module_names
        self._modules: dict[str, ModuleType] = {}
        self._stand_ins = {module: ModuleType(module) for module in stand_ins}
        for module, contents in stand_ins.items():
            vars(self._stand_ins[module]).update(contents)
        self._builtins = vars(builtins) | {"__import__": self._import}

    def module(self, name: str) -> ModuleType:
        """Return the module; the first time, find and run it."""
        if name in self._modules:
            return self._modules[name]
        parent, _, child = name.rpartition(".")
        spec = PathFinder.find_spec(name, self.module(parent).__path__ if parent else None)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = self._modules[name] = module_from_spec(spec)
        if spec.submodule_search_locations is None:
            vars(module)["__builtins__"] = self._builtins
            spec.loader.exec_module(module)
        if parent:
            setattr(self._modules[parent], child, module)
        return module

    def _import(
        self,
        name: str,
        variables: Mapping[str, object] | None = None,
        _: object = None,
        wanted: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what `__import__` does, within what may be seen."""
        if level:
            name = resolve_name("." * level + name, str((variables or {})["__package__"]))
        top = name.partition(".")[0]
        if top == self._name:
            module = self.module(name)
            return module if wanted else self._modules[top]
        if wanted and name in self._stand_ins:
            return self._stand_ins[name]
        if top not in self._shown:
            raise ModuleNotFoundError(f"{self._name} is not shown {name!r}", name=name)
        return __import__(name, fromlist=wanted or ())
