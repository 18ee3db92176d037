"""Codecs of the tiles: name, TIFF code, default level, and the call that encodes.

Each codec is a frozen value; imagecodecs does the work without holding the GIL.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Codec:
    """A tile codec."""

    name: str
    compression: int
    """Value of the Compression tag (TIFF 6.0 §8; libtiff's tiff.h for zstd)."""
    function: str | None
    """Encoder in imagecodecs, None for plain bytes."""
    default_level: int | None
    has_predictor: bool
    expansion: float
    """Bound on encoded size over raw size, for data that does not compress."""

    def bound(self, tile_bytes: int) -> int:
        """Give the most bytes that a tile can encode to."""
        return math.ceil(tile_bytes * self.expansion) + MIN_BOUND

    def encode(
        self, tile: NDArray[np.uint8], out: memoryview, level: int | None
    ) -> int:
        """Encode the bytes of one tile into a buffer.

        Parameters
        ----------
        tile : ndarray of uint8
            Contiguous bytes of the tile, predictor applied.
        out : memoryview
            At least ``bound(len(tile))`` writable bytes.
        level : int or None
            Effort, None for the codec's default.

        Returns
        -------
        int
            Number of bytes written at the start of `out`.

        Raises
        ------
        Exception
            Whatever the encoder raises; the caller names the tile.
        """
        if self.function is None:
            out[: len(tile)] = tile.data
            return len(tile)
        encoder = getattr(importlib.import_module("imagecodecs"), self.function)
        effort = (
            {} if self.default_level is None else {"level": level or self.default_level}
        )
        return len(encoder(tile, out=out, **effort))


MIN_BOUND = 256
"""Frame and block headers of the smallest tiles."""


CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("none", 1, None, None, has_predictor=False, expansion=1.0),
        # 12-bit codes for 8-bit bytes, and a clear code per 4,093 of them
        Codec("lzw", 5, "lzw_encode", None, has_predictor=True, expansion=1.51),
        # stored blocks: 5 bytes per 65,535
        Codec("deflate", 8, "deflate_encode", 6, has_predictor=True, expansion=1.001),
        # raw blocks: 3 bytes per 128 KiB; levels as measured in the README
        Codec("zstd", 50000, "zstd_encode", 3, has_predictor=True, expansion=1.004),
    )
}
"""Codecs by the name of the ``compress`` option."""


def codec(name: str) -> Codec:
    """Look a codec up.

    Parameters
    ----------
    name : str
        Value of the ``compress`` option.

    Returns
    -------
    Codec
        The codec.

    Raises
    ------
    OptionError
        No such codec.
    """
    if name not in CODECS:
        raise OptionError(f"compress={name!r}: choose one of {', '.join(CODECS)}")
    return CODECS[name]
