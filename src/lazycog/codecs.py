"""Encode tiles, and decode them: imagecodecs does most of it, without the GIL."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lazycog import _deflate
from lazycog._compression import FLOATING_POINT, HORIZONTAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from lazycog._compression import Compression


def encode(tile: NDArray[Any], out: memoryview, chosen: Compression) -> int:
    """Encode one tile into a buffer.

    Parameters
    ----------
    tile : ndarray
        Contiguous bytes of the tile, predictor applied; or its pixels, shape
        (row, col, band), for a codec that takes pixels.
    out : memoryview
        At least ``chosen.bound(tile.nbytes)`` writable bytes.
    chosen : Compression
        Codec and settings.

    Returns
    -------
    int
        Number of bytes written at the start of `out`.

    Raises
    ------
    Exception
        Whatever the encoder raises; the caller names the tile.
    """
    name = chosen.codec.name
    if chosen.codec.takes_pixels:
        flat = tile[..., 0] if tile.shape[-1] == 1 else tile
        return _put(_IMAGE_ENCODERS[name](flat, chosen), out)
    if chosen.codec.is_plain:
        out[: len(tile)] = tile.data
        return len(tile)
    if name == "deflate" and chosen.level is not None:
        return _deflate.encode(tile, out, chosen.level)
    encoder = _imagecodecs(f"{name}_encode")
    if chosen.level is None:
        return len(encoder(tile, out=out))
    return len(encoder(tile, level=chosen.level, out=out))


MASK_LEVEL = 7
"""What libtiff gives libdeflate for zlib's default level, which masks have in GDAL."""


def encode_mask(bits: NDArray[np.uint8], out: memoryview) -> int:
    """Encode the packed bits of a mask tile; see :func:`encode`."""
    return len(_imagecodecs("deflate_encode")(bits, level=MASK_LEVEL, out=out))


def jpeg_tables(chosen: Compression) -> bytes:
    """Give the quantisation tables that all JPEG tiles share (JPEGTables tag)."""
    sample = np.zeros((16, 16, 3), np.uint8)
    found = b"".join(
        data for marker, data in _segments(_jpeg_file(sample, chosen)) if marker == DQT
    )
    return SOI + found + EOI


def _imagecodecs(name: str) -> Callable[..., bytes]:
    return cast(
        "Callable[..., bytes]", getattr(importlib.import_module("imagecodecs"), name)
    )


def _put(data: bytes, out: memoryview) -> int:
    out[: len(data)] = data
    return len(data)


SOI, EOI = b"\xff\xd8", b"\xff\xd9"
"""Start and end of a JPEG stream (ITU T.81, table B.1)."""
DQT, APP0, SOS = 0xDB, 0xE0, 0xDA
"""Markers of quantisation tables, JFIF header and scan (ITU T.81, table B.1)."""


def _segments(stream: bytes) -> list[tuple[int, bytes]]:
    """Split a JPEG stream; the last piece is the scan with all that follows it."""
    position = len(SOI)
    found: list[tuple[int, bytes]] = []
    while True:
        marker = stream[position + 1]
        if marker == SOS:
            return [*found, (marker, stream[position:])]
        length = 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        found.append((marker, stream[position : position + length]))
        position += length


def _jpeg_file(tile: NDArray[Any], chosen: Compression) -> bytes:
    colour = (
        {"colorspace": "rgb", "outcolorspace": "ycbcr", "subsampling": "420"}
        if tile.ndim == 3  # noqa: PLR2004 - row, col, band
        else {}
    )
    return _imagecodecs("jpeg8_encode")(
        tile, level=chosen.quality, optimize=True, **colour
    )


def _jpeg(tile: NDArray[Any], chosen: Compression) -> bytes:
    """Encode without the tables that stand in JPEGTables (TIFF Technical Note 2)."""
    kept = [
        data
        for marker, data in _segments(_jpeg_file(tile, chosen))
        if marker not in {DQT, APP0}
    ]
    return SOI + b"".join(kept)


def _webp(tile: NDArray[Any], chosen: Compression) -> bytes:
    encoder = _imagecodecs("webp_encode")
    if chosen.lossless:
        return encoder(tile, lossless=True)
    return encoder(tile, level=chosen.quality, lossless=False)


def _lerc(tile: NDArray[Any], chosen: Compression) -> bytes:
    squeezed = chosen.codec.name.removeprefix("lerc").removeprefix("_") or None
    more = {} if squeezed is None else {"level": chosen.level}
    return _imagecodecs("lerc_encode")(
        tile, level=chosen.max_z_error, compression=squeezed, compressionargs=more
    )


def _jxl(tile: NDArray[Any], chosen: Compression) -> bytes:
    how: dict[str, Any] = {"lossless": True}
    if not chosen.lossless:
        how = {"distance": _butteraugli_distance(cast("int", chosen.quality))}
    return _imagecodecs("jpegxl_encode")(
        tile, effort=chosen.level, numthreads=1, usecontainer=False, **how
    )


VISUALLY_LOSSLESS, LEAST_LINEAR = 100, 30
"""Qualities: of distance 0, and the least in linear relation to it."""


def _butteraugli_distance(quality: int) -> float:
    """Turn a quality into libjxl's distance (JxlEncoderDistanceFromQuality)."""
    if quality >= VISUALLY_LOSSLESS:
        return 0.0
    if quality >= LEAST_LINEAR:
        return 0.1 + (100 - quality) * 0.09
    return 53.0 / 3000.0 * quality**2 - 23.0 / 20.0 * quality + 25.0


_IMAGE_ENCODERS: Mapping[str, Callable[[NDArray[Any], Compression], bytes]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "lerc": _lerc,
    "lerc_deflate": _lerc,
    "lerc_zstd": _lerc,
    "jxl": _jxl,
}


# --- back again, to measure -----------------------------------------------------------


def decode(
    payload: memoryview, shape: tuple[int, int, int], dtype: str, chosen: Compression
) -> NDArray[Any]:
    """Decode one tile, predictor undone.

    Parameters
    ----------
    payload : memoryview
        What :func:`encode` wrote.
    shape : (row, col, band)
        Of the tile.
    dtype : str
        Of its pixels.
    chosen : Compression
        Codec and settings.

    Returns
    -------
    ndarray, shape (row, col, band)
        Pixels.
    """
    stored = np.dtype(dtype)
    name = chosen.codec.name
    if chosen.codec.takes_pixels:
        return _decode_image(payload, chosen, grey=shape[2] == 1).reshape(shape)
    if chosen.codec.is_plain:
        return np.frombuffer(payload, stored).reshape(shape)
    raw = bytearray(math.prod(shape) * stored.itemsize)
    _imagecodecs(f"{name}_decode")(payload, out=raw)
    if chosen.predictor == HORIZONTAL:
        steps = np.frombuffer(raw, f"u{stored.itemsize}").reshape(shape)
        return np.asarray(_imagecodecs("delta_decode")(steps, axis=-2)).view(stored)
    pixels = np.frombuffer(raw, stored).reshape(shape)
    if chosen.predictor == FLOATING_POINT:
        return np.asarray(_imagecodecs("floatpred_decode")(pixels, axis=-2))
    return pixels


def decompressor(name: str, nbytes: int) -> Callable[..., bytes]:
    """Give a function that undoes a codec of plain bytes.

    Parameters
    ----------
    name : str
        Of the codec, as "deflate" or "zstd".
    nbytes : int
        Decoded bytes of a tile.

    Returns
    -------
    callable
        Takes ``buffer``, as async-tiff calls it.
    """
    decoder = _imagecodecs(f"{name}_decode")

    def decompress(buffer: bytes) -> bytes:
        return decoder(buffer, out=nbytes)

    return decompress


def _decode_image(
    payload: memoryview, chosen: Compression, *, grey: bool
) -> NDArray[Any]:
    name = chosen.codec.name.partition("_")[0]  # LERC tells what it is squeezed by
    if name == "jpeg":
        colour = {} if grey else {"colorspace": "ycbcr", "outcolorspace": "rgb"}
        decoder = _imagecodecs("jpeg8_decode")
        return np.asarray(decoder(bytes(payload), tables=jpeg_tables(chosen), **colour))
    if name == "jxl":
        return np.asarray(_imagecodecs("jpegxl_decode")(payload, numthreads=1))
    return np.asarray(_imagecodecs(f"{name}_decode")(payload))
