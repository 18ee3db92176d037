"""Codecs: what they encode decodes to the same, within the bound that was reserved."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tifffile import TIFF

from lazycog._compression import CODECS, codec, compression
from lazycog.codecs import encode, jpeg_tables
from lazycog.errors import OptionError

BYTES = [name for name, each in CODECS.items() if not each.takes_pixels]
LEVEL_RANGES = {name: each.levels for name, each in CODECS.items() if each.levels}
LEVELS = [
    (name, level)
    for name in BYTES
    for level in (
        range(LEVEL_RANGES[name][0], LEVEL_RANGES[name][1] + 1)
        if name in LEVEL_RANGES
        else [None]
    )
]
CODES = {
    "none": 1,
    "lzw": 5,
    "jpeg": 7,
    "deflate": 8,
    "packbits": 32773,
    "lerc": 34887,
    "lerc_deflate": 34887,
    "lerc_zstd": 34887,
    "lzma": 34925,
    "zstd": 50000,
    "webp": 50001,
    "jxl": 50002,
}


def encoded(name, data, level=None):
    """Encode into a buffer of the reserved size, with a guard behind it."""
    chosen = compression(name, level=level)
    bound = chosen.bound(data.nbytes)
    buffer = np.full(bound + 64, 0xA5, np.uint8)
    size = encode(data, memoryview(buffer)[:bound], chosen)
    assert 0 < size <= bound
    assert (buffer[bound:] == 0xA5).all()
    return buffer[:size].tobytes()


def by_imagecodecs(name, payload):
    """Decode with the library that encoded."""
    if name == "none":
        return payload
    return bytes(getattr(imagecodecs, f"{name}_decode")(payload))


def by_tifffile(name, payload):
    """Decode with what a TIFF reader finds under the Compression tag."""
    return bytes(TIFF.DECOMPRESSORS[codec(name).compression](payload))


@pytest.mark.parametrize("decoder", [by_imagecodecs, by_tifffile])
@pytest.mark.parametrize("name", BYTES)
@given(data=st.binary(min_size=1, max_size=5000))
def test_any_bytes_come_back(name, decoder, data):
    """Of any length and content."""
    payload = encoded(name, np.frombuffer(data, np.uint8))

    assert decoder(name, payload)[: len(data)] == data


@pytest.mark.parametrize("name", BYTES)
@given(
    value=st.integers(0, 255), length=st.integers(1, 300_000), step=st.integers(0, 255)
)
def test_smooth_bytes_come_back(name, value, length, step):
    """Long runs, as of nodata, and ramps."""
    data = (value + step * np.arange(length)).astype(np.uint8)

    assert by_imagecodecs(name, encoded(name, data)) == data.tobytes()


@pytest.mark.parametrize("size", [1, 16 * 16, 128 * 128, 512 * 512 * 4])
@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_noise_stays_within_the_bound(name, level, size):
    """Data that no codec compresses, at every level."""
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)

    payload = encoded(name, data, level)

    assert by_imagecodecs(name, payload) == data.tobytes()


def _lzw_worst_case():
    """Give bytes in which no pair repeats soon: every LZW code stands for one byte."""
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1)
    generator = np.random.default_rng(1)
    return generator.permutation(pairs.reshape(-1, 2)).astype(np.uint8).ravel()


def test_the_worst_case_of_lzw_stays_within_the_bound():
    """12 bits per byte, and a clear code whenever the table is full."""
    data = np.tile(_lzw_worst_case(), 8)

    payload = encoded("lzw", data)

    assert len(payload) > 1.3 * len(data)
    assert by_imagecodecs("lzw", payload) == data.tobytes()


@pytest.mark.parametrize("name", BYTES)
def test_the_same_bytes_encode_to_the_same(name):
    """The promise of equal files stands on it."""
    data = np.random.default_rng(0).integers(0, 20, 100_000, dtype=np.uint8)

    assert encoded(name, data) == encoded(name, data.copy())


@pytest.mark.parametrize("name", [each for each in LEVEL_RANGES if each in BYTES])
def test_no_level_means_the_default(name):
    """As the plan reports it."""
    data = np.random.default_rng(0).integers(0, 20, 100_000, dtype=np.uint8)

    assert encoded(name, data) == encoded(name, data, codec(name).default_level)


@pytest.mark.parametrize("name", [each for each in LEVEL_RANGES if each in BYTES])
def test_a_higher_level_compresses_more(name):
    """The level arrives at the encoder."""
    data = np.cumsum(np.random.default_rng(0).integers(0, 3, 100_000)).astype(np.uint8)
    low, high = LEVEL_RANGES[name]

    assert len(encoded(name, data, high)) < len(encoded(name, data, low))


@pytest.mark.parametrize("name", CODES)
def test_the_number_in_the_compression_tag(name):
    """TIFF 6.0 §8 and libtiff's tiff.h."""
    assert codec(name).compression == CODES[name]


def test_every_codec_has_its_number():
    """The list of choices and the table agree."""
    assert set(CODECS) == set(CODES)


def test_an_unknown_codec():
    """The message lists what there is."""
    with pytest.raises(OptionError, match="compress='lz4': choose one of none, lzw"):
        codec("lz4")


@pytest.mark.parametrize(
    "name", [each for each in CODECS if each not in {"none", "webp"}]
)
def test_a_buffer_that_is_too_small_is_an_error(name):
    """Never a tile that is cut short."""
    data = np.random.default_rng(0).integers(0, 256, (96, 96, 1), dtype=np.uint8)
    tile = data if codec(name).takes_pixels else data.reshape(-1)

    with pytest.raises((RuntimeError, ValueError), match=r"."):
        encode(tile, memoryview(bytearray(100)), compression(name))


RGB = 3
TILES = [
    ("jpeg", "uint8", 1, {"quality": 90}, 30),
    ("jpeg", "uint8", 3, {"quality": 90}, 60),
    ("webp", "uint8", 3, {}, 80),
    ("webp", "uint8", 4, {}, 80),
    ("webp", "uint8", 3, {"lossless": True}, 0),
    ("webp", "uint8", 4, {"lossless": True}, 0),
    *(
        (name, dtype, samples, {"max_z_error": bound}, bound)
        for name in ("lerc", "lerc_deflate", "lerc_zstd")
        for dtype in ("int8", "uint16", "int32", "float32", "float64")
        for samples in (1, 3)
        for bound in (0, 2)
    ),
    *(
        ("jxl", dtype, samples, {}, 0)
        for dtype in ("uint8", "uint16", "float32", "float16")
        for samples in (1, 2, 3, 4)
    ),
    ("jxl", "uint8", 3, {"quality": 90}, 40),
]


@pytest.mark.parametrize(("name", "dtype", "samples", "how", "bound"), TILES)
def test_an_image_codec_stays_within_its_error(name, dtype, samples, how, bound):
    """Smooth pixels with some noise, read back by imagecodecs."""
    generator = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(64), np.arange(64))[..., np.newaxis] / 2
    tile = (ramp + generator.normal(0, 3, (64, 64, samples))).clip(0).astype(dtype)
    chosen = compression(name, **how)
    buffer = bytearray(chosen.bound(tile.nbytes))

    size = encode(tile, memoryview(buffer), chosen)

    payload = bytes(buffer[:size])
    found = _decoded(name, payload, chosen).reshape(tile.shape)
    error = np.abs(found.astype("f8") - tile.astype("f8")).max()
    assert error <= bound


def _decoded(name, payload, chosen):
    if name == "jpeg":
        tables = jpeg_tables(chosen)
        return imagecodecs.jpeg8_decode(
            payload,
            tables=tables,
            colorspace="ycbcr" if _bands(payload) == RGB else None,
            outcolorspace="rgb" if _bands(payload) == RGB else None,
        )
    decoder = {"jxl": "jpegxl", "lerc_deflate": "lerc", "lerc_zstd": "lerc"}
    squeezed = {"lerc_deflate": "deflate", "lerc_zstd": "zstd"}
    if name in squeezed:
        payload = getattr(imagecodecs, f"{squeezed[name]}_decode")(payload)
    return getattr(imagecodecs, f"{decoder.get(name, name)}_decode")(payload)


def _bands(stream):
    """Count the components of a JPEG frame (ITU T.81, B.2.2)."""
    start = stream.index(b"\xff\xc0")
    return stream[start + 9]
