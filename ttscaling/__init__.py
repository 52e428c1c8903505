"""Test-time scaling as a library: the names of `ttscaling.public`, loaded when they are first used.

So `import ttscaling`, and with it every module below, costs no more than an empty file. Type checkers read
`__init__.pyi`.
"""


def __getattr__(name: str) -> object:
    """Load a public name; raises AttributeError for other names."""
    from importlib import import_module

    public: object = getattr(import_module("ttscaling.public"), name)
    return public
