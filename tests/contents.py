"""The table of contents: what each file of the packages is about, by the first sentence of its docstring.

python -m tests.contents
"""

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "server", "ttscaling", "clients", "bench")


def product_files(root: Path = ROOT) -> list[Path]:
    """All Python files of the product that hold something, folder by folder."""
    found = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    files = sorted(
        found, key=lambda file: (PACKAGES.index(file.relative_to(root).parts[0]), file.parent, file.name)
    )
    return [root / "internvl3_vllm.py", *(file for file in files if file.read_text())]


def first_sentence(file: Path) -> str:
    """The first line of a file's docstring, or nothing where it has none."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def contents(root: Path = ROOT) -> Mapping[str, str]:
    """Path from the root to first sentence."""
    return {str(file.relative_to(root)): first_sentence(file) for file in product_files(root)}


def main() -> None:
    folder = ""
    for path, sentence in contents().items():
        parent, _, name = path.rpartition("/")
        if parent != folder:
            folder = parent
            print(f"\n{parent}/")
        print(f"  {name:<22} {sentence}")


if __name__ == "__main__":
    main()
