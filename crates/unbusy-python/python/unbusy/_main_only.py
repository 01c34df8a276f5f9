"""Imported first: an engine and its thread belong to the process, and so to its main interpreter."""

from importlib import import_module


def _is_main() -> bool:
    # The module that tells has had several names; where it has none there are no others.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


if not _is_main():
    raise ImportError("unbusy works in the main interpreter of a process only, and this is a sub-interpreter")
