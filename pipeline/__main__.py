"""One stage of a run: ``python -m pipeline STAGE --option=value ...``, or ``--help`` for the stages there are."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import defopt

from cmbfit.errors import CmbfitError, printable
from pipeline.alone import alone


def stages() -> dict[str, str]:
    """Return the stages and the first line of what each does, without importing them."""
    out = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == path.stem:
                out[path.stem] = (ast.get_docstring(node) or "").partition("\n")[0]
    return out


def main(words: Sequence[str]) -> int:
    """Run a stage; return the exit code, 2 for an error that the user can do something about."""
    stage, *options = words or ["--help"]
    known = stages()
    if stage in {"-h", "--help"}:
        print((__doc__ or "") + "\n\n" + "\n".join(f"{name:20} {text}" for name, text in known.items()))
        return 0
    if stage not in known:
        sys.stderr.write(f"error: unknown stage {stage!r}; python -m pipeline --help lists them\n")
        return 2
    held = alone()
    function = getattr(import_module(f"pipeline.{stage}"), stage)
    try:
        defopt.run(
            function,
            argv=options,
            short={},
            argparse_kwargs={"prog": f"python -m pipeline {stage}", "allow_abbrev": False},
        )
    except CmbfitError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return 2
    finally:
        held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
