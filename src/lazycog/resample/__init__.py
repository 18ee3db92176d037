"""GDAL's overview kernels: one pyramid level made from the one before it.

``reduce`` gives the pixels that GDAL's COG driver writes: bit for bit for nearest,
average, mode and rms, and within one unit of an integer type, or 1e-6 of a float, for
the wide kernels. It works on pieces: a piece of level l+1 depends only on the source
pixels it covers, ``support`` more to either side, and its absolute position, so any
cutting of a level gives the same pixels.
"""

from lazycog.resample._mask import opacity, own_opacity, reduce_mask
from lazycog.resample._reduce import reduce, support, supports

__all__ = ["opacity", "own_opacity", "reduce", "reduce_mask", "support", "supports"]
