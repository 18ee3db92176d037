"""GDAL's overview kernels: one pyramid level made from the one before it.

``reduce`` gives the pixels that GDAL's COG driver writes, bit for bit, for nearest,
average, mode and rms. It works on pieces: a piece of level l+1 depends only on the
source pixels it covers and on its absolute position, so any cutting of a level gives
the same pixels.
"""

from lazycog.resample._reduce import reduce, supports

__all__ = ["reduce", "supports"]
