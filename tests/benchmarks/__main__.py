"""``python tests/benchmarks``."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    # this folder comes first where it is run by its path; the package is what it holds
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    importlib.import_module("benchmarks.cli").main()
