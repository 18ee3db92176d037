"""Make a scene in a process of its own: ``making KIND SIZE FOLDER [DATA]``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from benchmarks.scenes import KINDS, make

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, size, folder, *data = sys.argv[1:]
    scene = make(KINDS[kind], int(size), Path(folder), Path(data[0]) if data else None)
    print(scene.origin)
