"""The overview kernels against GDAL's COG driver, and against themselves cut up."""

from __future__ import annotations

import math
from itertools import count, pairwise

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from lazycog.resample import (
    opacity,
    own_opacity,
    reduce,
    reduce_mask,
    support,
    supports,
)

KERNELS = ("nearest", "average", "mode", "rms")
WIDE = ("bilinear", "cubic", "cubicspline", "lanczos", "gauss")
DTYPES = ("uint8", "uint16", "int16", "int64", "float32", "float64")
OTHER_DTYPES = ("int8", "uint32", "int32", "uint64")  # the same arithmetic as one above
SIZES = ((258, 300), (255, 301), (256, 257), (1, 300), (300, 1))
LARGE_SIZES = (
    (512, 512),
    (511, 509),
    (600, 601),
    (1000, 1),
    (1, 1000),
    (1031, 777),
    (4097, 2049),
)
TRANSFORM = Affine(10, 0, 500_000, 0, -10, 4_000_000)

_serial = count()


def gdal_levels(pixels, resampling, nodata, blocksize):
    """Return every level of GDAL's COG of an array, the full resolution first."""
    name = f"/vsimem/resample-{next(_serial)}"
    profile = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "nodata": nodata,
        "transform": TRANSFORM,
        "photometric": "MINISBLACK",
        "alpha": "unspecified",
    }
    with rasterio.open(f"{name}.tif", "w", **profile) as dataset:
        dataset.write(pixels)
    rasterio.shutil.copy(
        f"{name}.tif",
        f"{name}.cog.tif",
        driver="COG",
        BLOCKSIZE=blocksize,
        RESAMPLING=resampling,
        OVERVIEW_RESAMPLING=resampling,
        COMPRESS="NONE",
    )
    with rasterio.open(f"{name}.cog.tif") as dataset:
        levels = [dataset.read()]
        overview_count = len(dataset.overviews(1))
    for level in range(overview_count):
        with rasterio.open(f"{name}.cog.tif", overview_level=level) as dataset:
            levels.append(dataset.read())
    rasterio.shutil.delete(f"{name}.tif")
    rasterio.shutil.delete(f"{name}.cog.tif")
    return levels


def whole(size, target_size=None):
    """Give the place of a whole level, as resample takes it."""
    target_size = target_size or tuple(max(1, n // 2) for n in size)
    return {
        "source_size": size,
        "target_size": target_size,
        "source_origin": (0, 0),
        "target_origin": (0, 0),
        "target_shape": target_size,
    }


def reduce_whole(pixels, resampling, nodata=None, target_size=None, valid=None):
    """Reduce a whole level at once."""
    place = whole(pixels.shape[1:], target_size)
    return reduce(pixels, resampling=resampling, nodata=nodata, valid=valid, **place)


def reduce_one(window, resampling, nodata=None, dtype=None):
    """Reduce one level to a single pixel and return it."""
    pixels = np.asarray(window, dtype)[np.newaxis]
    return reduce_whole(pixels, resampling, nodata, (1, 1))[0, 0, 0]


def source_of(levels, level):
    """Return the level GDAL made a level from: the first whose width is larger.

    It falls back to the full resolution where the level before is no wider, as for a
    raster one pixel wide (GDAL overview.cpp, GDALRegenerateOverviewsMultiBand).
    """
    before = levels[level - 1]
    return before if before.shape[2] > levels[level].shape[2] else levels[0]


def patterns(dtype, size):
    """Return bands that take the kernels to their corners."""
    rng = np.random.default_rng(7)
    dtype = np.dtype(dtype)
    rows, cols = np.indices(size)
    waves = (np.sin(cols / 37) + np.cos(rows / 23) + 2) / 4
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        # A mean of 2**64 is undefined in GDAL's C++, so uint64 stays below.
        top = high - 2**20 if dtype == np.uint64 else high
        extremes = np.array([low, top, top - 1, 0], dtype)
        bands = [
            rng.integers(low, top, size, dtype, endpoint=True),
            waves * min(high, 30_000),
            rng.integers(0, 4, size),
            rng.choice(extremes, size),
        ]
        return np.stack([band.astype(dtype) for band in bands])
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    extremes = [
        info.max,
        -info.max,
        3e38,
        info.tiny,
        tiny,
        0,
        -0.0,
        math.inf,
        -math.inf,
    ]
    bits = rng.integers(0, 256, (*size, dtype.itemsize), np.uint8).view(dtype)[..., 0]
    bands = [
        np.where(np.isfinite(bits), bits, dtype.type(1.5)),
        waves,
        rng.integers(-2, 3, size),
        rng.choice(np.array(extremes, dtype), size),
    ]
    return np.stack([band.astype(dtype) for band in bands])


def nodata_values(dtype, resampling):
    """Return the nodata values whose treatment in GDAL is to be matched exactly."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        lowest = float(np.finfo(dtype).min)
        return (None, -9999.0, lowest) + ((math.nan,) if resampling != "mode" else ())
    if dtype.itemsize == 8:  # rasterio hands GDAL a wrong 64-bit extreme
        return (None, 0, 7)
    lowest = int(np.iinfo(dtype).min) if resampling != "mode" else 0
    return (None, 0, int(np.iinfo(dtype).max), lowest)


def with_gaps(pixels, nodata):
    """Return the pixels with scattered missing ones and a block of them."""
    if nodata is None:
        return pixels
    rng = np.random.default_rng(11)
    height, width = pixels.shape[1:]
    gaps = rng.random(pixels.shape) < 0.3
    gaps[:, height // 5 : height // 2, width // 4 : width // 2] = True
    return np.where(gaps, pixels.dtype.type(nodata), pixels)


def touched_by_nan(source, target_size):
    """Return the targets whose window holds a NaN."""
    if source.dtype.kind != "f":
        return np.zeros((source.shape[0], *target_size), bool)
    return reduce_whole(np.isnan(source) * 1.0, "average", None, target_size) > 0


def assert_equals_gdal(pixels, resampling, nodata, blocksize):
    """Compare every level bit for bit, made from GDAL's own level before it."""
    levels = gdal_levels(pixels, resampling, nodata, blocksize)
    assert len(levels) > 1
    for level in range(1, len(levels)):
        source, expected = source_of(levels, level), levels[level]
        actual = reduce_whole(source, resampling, nodata, expected.shape[1:])
        if resampling != "nearest" and not (nodata is not None and math.isnan(nodata)):
            ours = touched_by_nan(source, expected.shape[1:])
            expected = np.where(ours, actual, expected)
        assert_same_bits(actual, expected)


def assert_same_bits(actual, expected):
    """Compare as bits, all NaN being one."""
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    if actual.dtype.kind == "f":
        signs = np.signbit(actual) == np.signbit(expected)
        assert (signs | np.isnan(actual)).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("resampling", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_level_equals_gdal(dtype, resampling, size):
    pixels = patterns(dtype, size)

    for nodata in nodata_values(dtype, resampling):
        assert_equals_gdal(with_gaps(pixels, nodata), resampling, nodata, 128)


@pytest.mark.large
@pytest.mark.parametrize("blocksize", [128, 256, 512])
@pytest.mark.parametrize("size", SIZES + LARGE_SIZES, ids=str)
@pytest.mark.parametrize("resampling", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES + OTHER_DTYPES)
def test_every_level_equals_gdal_at_all_sizes(dtype, resampling, size, blocksize):
    if max(size) <= blocksize:
        pytest.skip("no overview")
    pixels = patterns(dtype, size)

    for nodata in nodata_values(dtype, resampling):
        assert_equals_gdal(with_gaps(pixels, nodata), resampling, nodata, blocksize)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("size", [(256, 256), (255, 301), (300, 1)], ids=str)
def test_complex_average_equals_gdal(dtype, size):
    rng = np.random.default_rng(3)
    pixels = rng.standard_normal((2, 1, *size))
    pixels = (pixels[0] + 1j * pixels[1]).astype(dtype)
    levels = gdal_levels(pixels, "average", None, 128)

    for source, expected in pairwise(levels):
        actual = reduce_whole(source, "average", None, expected.shape[1:])

        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_nearest_equals_gdal_in_the_first_overview(dtype):
    pixels = np.arange(255 * 301).reshape(1, 255, 301) * (1 + 2j)
    full, expected, *_ = gdal_levels(pixels.astype(dtype), "nearest", None, 128)

    actual = reduce_whole(full, "nearest", None, expected.shape[1:])

    np.testing.assert_array_equal(actual, expected)


def reference_average(pixels, target_size):
    """Average by the overlap of every source pixel with every target."""
    shares = []
    for source, target in zip(pixels.shape, target_size, strict=True):
        edges = np.arange(target + 1) * source / target
        index = np.arange(source)
        overlap = np.minimum(index + 1, edges[1:, None])
        overlap = overlap - np.maximum(index, edges[:-1, None])
        shares.append(np.clip(overlap, 0, None))
    total = shares[0] @ pixels @ shares[1].T
    return total / np.outer(shares[0].sum(1), shares[1].sum(1))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (17, 31), (33, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("nodata", [None, -1.0])
def test_windows_share_the_pixels_on_their_edges(size, nodata):
    pixels = np.random.default_rng(2).random((1, *size))
    target_size = tuple(max(1, n // 2) for n in size)

    average = reduce_whole(pixels, "average", nodata)
    rms = reduce_whole(pixels, "rms", nodata)

    expected = reference_average(pixels[0], target_size)
    squares = reference_average(pixels[0] ** 2, target_size)
    np.testing.assert_allclose(average[0], expected, rtol=1e-12)
    np.testing.assert_allclose(rms[0], np.sqrt(squares), rtol=1e-6)


@st.composite
def cut_levels(draw):
    """Draw a level, how it is reduced, and the cuts of the level above."""
    resampling = draw(st.sampled_from(KERNELS + WIDE))
    dtype = draw(st.sampled_from(["uint8", "float64"]))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    target = tuple(max(1, n // 2) for n in size)
    cuts = [
        sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=4))}) for n in target
    ]
    values = st.integers(0, 4)
    seed = draw(st.integers(0, 2**32 - 1))
    nodata = draw(st.none() | values)
    pixels = np.random.default_rng(seed).integers(0, 5, (2, *size)).astype(dtype)
    if pixels.dtype.kind == "f":
        pixels = pixels / pixels.dtype.type(3)
        pixels[:, ::3, ::2] = draw(st.sampled_from([0.1, math.nan, math.inf]))
    masks = [None, np.bool_, np.uint8]
    kind = draw(st.sampled_from(masks))
    valid = None
    if kind is not None:
        valid = np.random.default_rng(seed + 1).integers(0, 3, size).astype(kind)
    return resampling, nodata, pixels, valid, target, cuts


def needed(source, target, start, stop, beyond):
    """Return the source pixels that targets need, by the formula of the plan."""
    first = max(0, math.floor(start * source / target + 1e-8) - beyond)
    return first, min(source, math.ceil(stop * source / target - 1e-8) + beyond)


@settings(max_examples=60, deadline=None)
@given(cut_levels())
def test_pieces_equal_the_whole(case):
    resampling, nodata, pixels, valid, target, (row_cuts, col_cuts) = case
    expected = reduce_whole(pixels, resampling, nodata, valid=valid)
    assembled = np.empty_like(expected)
    beyond = support(resampling)

    for top, bottom in pairwise(row_cuts):
        for left, right in pairwise(col_cuts):
            rows = needed(pixels.shape[1], target[0], top, bottom, beyond)
            cols = needed(pixels.shape[2], target[1], left, right, beyond)
            piece = slice(*rows), slice(*cols)
            assembled[:, top:bottom, left:right] = reduce(
                pixels[:, *piece],
                resampling=resampling,
                nodata=nodata,
                source_size=pixels.shape[1:],
                target_size=target,
                source_origin=(rows[0], cols[0]),
                target_origin=(top, left),
                target_shape=(bottom - top, right - left),
                valid=None if valid is None else valid[piece],
            )

    assert_same_bits(assembled, expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("resampling", KERNELS)
def test_no_target_gives_an_empty_piece(resampling, shape):
    piece = reduce(
        np.empty((2, 0, 0), np.uint8),
        resampling=resampling,
        nodata=0,
        source_size=(9, 9),
        target_size=(4, 4),
        source_origin=(8, 8),
        target_origin=(1, 1),
        target_shape=shape,
    )

    assert piece.shape == (2, *shape)
    assert piece.dtype == np.uint8


@pytest.mark.parametrize("dtype", [*DTYPES, "float16"])
@pytest.mark.parametrize("resampling", ["average", "mode", "rms"])
@pytest.mark.parametrize("size", [(4, 4), (5, 5), (5, 1)], ids=str)
def test_missing_windows_give_nodata(dtype, resampling, size):
    dtype = np.dtype(dtype)
    nodata = -9999.0 if dtype.kind == "f" else int(np.iinfo(dtype).min)
    pixels = np.full((1, *size), nodata, dtype)

    actual = reduce_whole(pixels, resampling, nodata)

    assert (actual == np.array(nodata, dtype)).all()


@pytest.mark.parametrize("resampling", ["average", "mode", "rms"])
def test_64_bit_nodata_is_kept_to_the_last_digit(resampling):
    window = np.full((2, 2), 2**53 + 1, np.int64)

    assert reduce_one(window, resampling, 2**53 + 1) == 2**53 + 1


@pytest.mark.parametrize(
    ("dtype", "window", "nodata", "expected"),
    [
        ("uint8", [[1, 3], [1, 3]], 2, 3),
        ("uint8", [[255, 255], [254, 0]], 255, 127),
        ("uint8", [[254, 255], [255, 255]], 255, 254),
        ("uint16", [[1, 3], [1, 3]], 2, 3),
        ("int16", [[-2, 0], [-2, 0]], -1, 0),
        ("float32", [[1, 3], [1, 3]], 2, np.nextafter(np.float32(2), np.float32(3))),
        ("float64", [[-1, 1], [-1, 1]], 0, np.nextafter(0.0, 1.0)),
    ],
)
def test_a_valid_mean_never_becomes_nodata(dtype, window, nodata, expected):
    assert reduce_one(window, "average", nodata, dtype) == expected


@pytest.mark.parametrize("nodata", [None, math.nan, -1.0])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("resampling", "expected"), [("average", 6), ("mode", 6), ("rms", 6)]
)
def test_nan_is_skipped_whatever_the_nodata(resampling, expected, dtype, nodata):
    for window in ([[math.nan, 6], [6, 6]], [[6, 6, 6], [6, 6, math.nan], [6, 6, 6]]):
        actual = reduce_one(window, resampling, nodata, dtype)

        assert actual == expected


@pytest.mark.parametrize(
    ("nodata", "expected"), [(None, math.nan), (math.nan, math.nan), (-1.0, -1.0)]
)
@pytest.mark.parametrize("resampling", ["average", "mode", "rms"])
@pytest.mark.parametrize("size", [(2, 2), (3, 3), (2, 3), (2, 1)], ids=str)
def test_windows_of_nan_alone_are_missing(size, resampling, nodata, expected):
    window = np.full(size, math.nan, np.float32)

    actual = reduce_one(window, resampling, nodata)

    np.testing.assert_equal(actual, np.float32(expected))


def test_infinities_that_cancel_stay_nan():
    window = [[math.inf, -math.inf], [1, 1]]

    assert math.isnan(reduce_one(window, "average", None, np.float32))


def test_nearest_takes_nodata_as_any_pixel():
    assert reduce_one([[0, 1], [2, 3]], "nearest", 0, np.uint8) == 0


@pytest.mark.parametrize("nodata", [-9999, None])
def test_floats_near_nodata_are_missing_as_in_gdal(nodata):
    near = np.nextafter(np.float32(-9999), np.float32(0))
    window = np.array([[near, 1], [1, 1]], np.float32)

    expected = 1 if nodata else -2499

    assert round(float(reduce_one(window, "average", nodata))) == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([[1, 2], [3, 4]], 1),
        ([[1, 2], [2, 1]], 2),
        ([[1, 1], [2, 2]], 1),
        ([[1, 2], [1, 2]], 1),
        ([[1, 2], [3, 3]], 3),
        ([[1, 2, 3], [3, 2, 4], [2, 3, 3]], 3),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_mode_takes_the_first_value_to_lead(dtype, window, expected):
    assert reduce_one(window, "mode", None, dtype) == expected


def test_float16_averages_in_float32():
    window = np.array([[2048, 2049], [2050, 2052]], np.float16)

    actual = reduce_one(window, "average")

    assert actual.dtype == np.float16
    assert actual == np.float16(np.float32(window).mean())


def test_the_largest_uint64_is_its_own_average():
    window = np.full((2, 2), 2**64 - 1, np.uint64)

    assert reduce_one(window, "average") == 2**64 - 1


def test_complex_average_skips_nan():
    window = np.array([[1 + 2j, math.nan], [3 + 4j, complex(0, math.nan)]])

    assert reduce_one(window, "average") == 2 + 3j
    assert np.isnan(reduce_one(np.full((2, 2), math.nan + 0j), "average"))


@pytest.mark.parametrize("resampling", KERNELS)
def test_pixels_are_taken_in_any_memory_layout(resampling):
    pixels = patterns("uint16", (30, 31))
    expected = reduce_whole(pixels, resampling)
    frozen = pixels.copy()
    frozen.flags.writeable = False

    for other in (pixels.astype(">u2"), np.asfortranarray(pixels), frozen):
        actual = reduce_whole(other, resampling)

        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("dtype", "resampling", "expected"),
    [
        *((dtype, kernel, True) for dtype in DTYPES for kernel in KERNELS),
        ("float16", "rms", True),
        ("complex64", "nearest", True),
        ("complex128", "average", True),
        ("complex64", "mode", False),
        ("complex64", "rms", False),
        ("bool", "nearest", False),
        ("complex64", "cubic", False),
        ("complex64", "gauss", False),
        ("uint8", "sinc", False),
        *((dtype, kernel, True) for dtype in DTYPES for kernel in WIDE),
    ],
)
def test_supports_what_reduce_takes(dtype, resampling, expected):
    assert supports(dtype, resampling) is expected


@pytest.mark.parametrize("resampling", ["mode", "rms", "cubic"])
def test_refuses_a_dtype_without_kernel(resampling):
    with pytest.raises(ValueError, match=f"no '{resampling}' kernel for .* complex64"):
        reduce_one(np.zeros((2, 2), np.complex64), resampling)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", -1),
        ("uint8", 256),
        ("int16", 0.5),
        ("int16", math.nan),
        ("int32", math.inf),
        ("float32", 1e300),
    ],
)
@pytest.mark.parametrize("resampling", ["average", "mode"])
def test_refuses_a_nodata_outside_the_dtype(dtype, nodata, resampling):
    with pytest.raises(ValueError, match=f"is not a value of {dtype}"):
        reduce_one(np.zeros((2, 2), dtype), resampling, nodata)


def test_refuses_pixels_that_lack_a_source_row():
    with pytest.raises(ValueError, match="need source rows 2 to 5"):
        reduce(
            np.zeros((1, 2, 3), np.uint8),
            resampling="average",
            nodata=None,
            source_size=(7, 3),
            target_size=(3, 1),
            source_origin=(2, 0),
            target_origin=(1, 0),
            target_shape=(1, 1),
        )


def test_refuses_targets_outside_the_level():
    with pytest.raises(ValueError, match="targets 3 to 5 are outside the level's 4"):
        reduce(
            np.zeros((1, 9, 9), np.uint8),
            resampling="nearest",
            nodata=None,
            source_size=(9, 9),
            target_size=(4, 4),
            source_origin=(0, 0),
            target_origin=(3, 0),
            target_shape=(2, 4),
        )


def scene(dtype, size):
    """Return noise over the whole type, plateaus with sharp edges, and extremes."""
    if np.dtype(dtype).kind in "iu":
        # GDAL makes 0 of a result beyond the largest uint64 where there is nodata
        return patterns(dtype, size) // (2 if dtype == "uint64" else 1)
    rng = np.random.default_rng(5)
    rows, cols = np.indices(size)
    plateaus = 42 + (rows // 7 + cols // 5) % 3
    bands = [rng.normal(0, 1000, size), plateaus, rng.choice([-1e30, 1e30], size)]
    return np.stack(bands).astype(dtype)


def assert_close_to_gdal(actual, expected, source):
    """One unit of an integer type, 1e-6 of the largest float around."""
    assert actual.dtype == expected.dtype
    if actual.dtype.kind == "f":
        for ours, gdals, pixels in zip(actual, expected, source, strict=True):
            within = 1e-6 * np.nanmax(np.abs(pixels))
            np.testing.assert_allclose(ours, gdals, rtol=1e-6, atol=within)
    else:
        largest = np.maximum(actual, expected) - np.minimum(actual, expected)
        assert largest.max() <= 1
        # rounding apart, where a sum falls halfway, not a habit
        assert (largest > 0).mean() < 1e-3


def assert_wide_is_close_to_gdal(dtype, resampling, size, blocksize):
    """Compare every level, made from GDAL's own level before it."""
    pixels = scene(dtype, size)
    missing = -9999.0 if pixels.dtype.kind == "f" else 7

    for nodata in (None, missing):
        levels = gdal_levels(with_gaps(pixels, nodata), resampling, nodata, blocksize)
        for level in range(1, len(levels)):
            source, expected = source_of(levels, level), levels[level]
            actual = reduce_whole(source, resampling, nodata, expected.shape[1:])
            assert_close_to_gdal(actual, expected, source)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("resampling", WIDE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_wide_kernels_are_close_to_gdal(dtype, resampling, size):
    assert_wide_is_close_to_gdal(dtype, resampling, size, 128)


@pytest.mark.large
@pytest.mark.parametrize("blocksize", [128, 512])
@pytest.mark.parametrize("size", SIZES + LARGE_SIZES, ids=str)
@pytest.mark.parametrize("resampling", WIDE)
@pytest.mark.parametrize("dtype", DTYPES + OTHER_DTYPES)
def test_wide_kernels_are_close_to_gdal_at_all_sizes(
    dtype, resampling, size, blocksize
):
    if max(size) <= blocksize:
        pytest.skip("no overview")
    assert_wide_is_close_to_gdal(dtype, resampling, size, blocksize)


@pytest.mark.parametrize("resampling", WIDE)
@pytest.mark.parametrize("dtype", ["float32"])
def test_nan_as_nodata_works_as_any_other(dtype, resampling):
    """GDAL spreads NaN from under its mask in all but gauss, so it gets a stand-in."""
    pixels = with_gaps(scene(dtype, (255, 301)), math.nan)
    shown = np.where(np.isnan(pixels), pixels.dtype.type(-9999), pixels)
    full, expected, *_ = gdal_levels(shown, resampling, -9999.0, 128)

    actual = reduce_whole(pixels, resampling, math.nan)

    expected = np.where(expected == -9999, np.nan, expected)
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    assert_close_to_gdal(actual, expected, full)


@pytest.mark.parametrize("resampling", WIDE)
def test_wide_kernels_keep_a_flat_area_flat(resampling):
    """Up to the edges, in float16 too: the weights of a target add up to 1."""
    pixels = np.full((1, 41, 38), 0.1, np.float16)

    assert (reduce_whole(pixels, resampling) == pixels[0, 0, 0]).all()
    pixels[:, 10:20, 10:20] = math.nan
    assert (reduce_whole(pixels, "bilinear", math.nan) == pixels[0, 0, 0]).any()


def reference_filter(pixels, weigh, radius):
    """Filter by the definition: a stretched kernel at every distance, normalised."""
    result = pixels
    for axis in (0, 1):
        size = result.shape[axis]
        ratio = size / (size // 2)
        center = (np.arange(size // 2)[:, None] + 0.5) * ratio
        distance = (np.arange(size) + 0.5 - center) / ratio
        weights = np.where(np.abs(distance) < radius, weigh(np.abs(distance)), 0)
        weights /= weights.sum(axis=1, keepdims=True)
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return result


KEYS = [(-0.5, 2.5, -4, 2), (1.5, -2.5, 0, 1)]
"""Keys' cubic convolution, beyond and up to a distance of 1."""
SPLINE = [(-1, 6, -12, 8), (3, -6, 0, 4)]
"""Cubic B-spline, times 6."""
FILTERS = {
    "bilinear": (lambda x: 1 - x, 1),
    "cubic": (lambda x: np.where(x > 1, *(np.polyval(p, x) for p in KEYS)), 2),
    "cubicspline": (lambda x: np.where(x > 1, *(np.polyval(p, x) for p in SPLINE)), 2),
    "lanczos": (lambda x: np.sinc(x) * np.sinc(x / 3), 3),
}


@pytest.mark.parametrize("size", [(16, 16), (33, 38), (101, 67)], ids=str)
@pytest.mark.parametrize("resampling", FILTERS)
def test_filters_are_those_of_the_textbook(resampling, size):
    pixels = np.random.default_rng(2).random((1, *size))

    actual = reduce_whole(pixels, resampling)

    expected = reference_filter(pixels[0], *FILTERS[resampling])
    np.testing.assert_allclose(actual[0], expected, rtol=1e-12)


def test_gauss_is_a_binomial_filter():
    pixels = np.random.default_rng(2).random((1, 8, 8))

    actual = reduce_whole(pixels, "gauss")

    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    assert actual[0, 1, 2] == pytest.approx((pixels[0, 2:5, 4:7] * weights).sum())


@pytest.mark.parametrize("resampling", ["cubic", "lanczos"])
def test_overshoots_are_clamped_to_the_type(resampling):
    pixels = np.zeros((1, 64, 64), np.uint8)
    pixels[:, :, 32:] = 255

    actual = reduce_whole(pixels, resampling)[0, 16]

    assert actual.min() == 0
    assert actual.max() == 255
    assert (np.diff(actual.astype(int))[14:17] > 0).any()


@pytest.mark.parametrize("resampling", ["cubic", "lanczos"])
def test_nothing_rings_around_gaps(resampling):
    pixels = np.full((1, 64, 64), 100, np.int16)
    pixels[:, :, 20:30] = -9999

    actual = reduce_whole(pixels, resampling, -9999)

    assert set(np.unique(actual)) == {-9999, 100}


@pytest.mark.parametrize("resampling", WIDE)
@pytest.mark.parametrize("nodata", [None, -1.0])
def test_wide_kernels_skip_nan_whatever_the_nodata(resampling, nodata):
    pixels = np.full((1, 64, 64), 6, np.float32)
    pixels[:, 8:11, 40] = math.nan
    pixels[:, 30:60, 2:40] = math.nan

    actual = reduce_whole(pixels, resampling, nodata)

    missing = np.isnan(actual) if nodata is None else actual == nodata
    assert (actual[~missing] == 6).all()
    assert missing[0, 20:26, 6:14].all()
    assert not missing[0, 4, 20]


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "lanczos"])
def test_a_valid_result_of_a_wide_kernel_never_becomes_nodata(resampling):
    pixels = np.full((1, 32, 32), 8, np.uint8)
    pixels[:, :, 16:] = 6

    actual = reduce_whole(pixels, resampling, 7)

    assert (actual != 7).all()
    assert reduce_whole(pixels, resampling, None).min() == 6


def masked_levels(pixels, valid, resampling, nodata=None):
    """Return every level of GDAL's COG of an array with an internal mask."""
    name = f"/vsimem/masked-{next(_serial)}"
    profile = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "nodata": nodata,
        "transform": TRANSFORM,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
        with rasterio.open(f"{name}.tif", "w", **profile) as dataset:
            dataset.write(pixels)
            dataset.write_mask(valid)
        return cog_levels(name, resampling)


def cog_levels(name, resampling):
    """Return pixels and mask of every level of GDAL's COG of a file."""
    options = {"BLOCKSIZE": 128, "COMPRESS": "NONE"}
    rasterio.shutil.copy(
        f"{name}.tif",
        f"{name}.cog.tif",
        driver="COG",
        OVERVIEW_RESAMPLING=resampling,
        **options,
    )
    with rasterio.open(f"{name}.cog.tif") as dataset:
        overview_count = len(dataset.overviews(1))
    levels = []
    for level in (None, *range(overview_count)):
        chosen = {} if level is None else {"overview_level": level}
        with rasterio.open(f"{name}.cog.tif", **chosen) as dataset:
            levels.append((dataset.read(), dataset.read_masks(1) > 0))
    rasterio.shutil.delete(f"{name}.tif")
    rasterio.shutil.delete(f"{name}.cog.tif")
    return levels


def gappy_mask(size):
    """Return scattered holes, a large one, and a whole part."""
    valid = np.random.default_rng(13).random(size) < 0.7
    height, width = size
    valid[height // 5 : height // 2, width // 4 : width // 2] = False
    valid[height // 2 :, width // 2 :] = True
    return valid


@pytest.mark.parametrize("size", [(258, 300), (255, 301), (1, 300)], ids=str)
@pytest.mark.parametrize("resampling", KERNELS + WIDE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_masks_are_reduced_as_in_gdal(dtype, resampling, size):
    pixels = np.random.default_rng(5).integers(1, 120, (2, *size)).astype(dtype)

    for nodata in (None, 7):
        levels = masked_levels(pixels, gappy_mask(size), resampling, nodata)
        for (source, valid), (expected, below) in pairwise(levels):
            place = whole(source.shape[1:], below.shape)
            mask = reduce_mask(valid, resampling=resampling, **place)
            np.testing.assert_array_equal(mask, below)
            if resampling == "mode" and dtype == "uint8":
                continue  # GDAL looks at no mask there
            actual = reduce_whole(source, resampling, nodata, below.shape, valid)
            assert_close_to_gdal(actual, expected, source)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("resampling", ["average", "mode", "rms", *WIDE])
@pytest.mark.parametrize("nodata", [None, 9])
def test_what_a_mask_hides_is_not_seen(resampling, dtype, nodata):
    """The mask decides alone: a valid pixel may equal nodata, as in GDAL."""
    pixels = np.full((1, 33, 40), 9, dtype)
    pixels[:, :, 20:] = 100
    valid = np.ones((33, 40), bool)
    valid[:, 20:] = False

    actual = reduce_whole(pixels, resampling, nodata, valid=valid)

    mask = reduce_mask(valid, resampling=resampling, **whole((33, 40)))
    seen = set(np.unique(actual[:, mask]).tolist())
    if nodata is None or resampling in {"mode", "gauss"}:
        assert seen == {9}
    else:
        assert len(seen) == 1  # the value next to nodata
        assert min(seen) == pytest.approx(9.5, abs=0.5)
        assert 9 not in seen
    assert (actual[:, ~mask] == (nodata or 0)).all()


def test_complex_average_skips_what_a_mask_hides():
    pixels = np.array([[[1 + 2j, 50], [3 + 4j, 50]]])
    valid = np.array([[True, False], [True, False]])

    assert reduce_whole(pixels, "average", None, (1, 1), valid)[0, 0, 0] == 2 + 3j
    hidden = reduce_whole(pixels, "average", None, (1, 1), valid & False)
    assert hidden[0, 0, 0] == 0


@pytest.mark.parametrize("size", [(258, 300), (255, 301)], ids=str)
@pytest.mark.parametrize("resampling", KERNELS + WIDE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_is_reduced_as_in_gdal(dtype, resampling, size):
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 120, (2, *size)).astype(dtype)
    top = np.iinfo(dtype).max
    alpha = rng.choice(np.array([0, 1, top // 5, top - 3, top], dtype), size)
    alpha[~gappy_mask(size)] = 0
    pixels[1] = alpha
    name = f"/vsimem/alpha-{next(_serial)}"
    height, width = size
    profile = {"height": height, "width": width, "count": 2, "dtype": dtype}
    with rasterio.open(
        f"{name}.tif", "w", driver="GTiff", alpha="YES", transform=TRANSFORM, **profile
    ) as dataset:
        dataset.write(pixels)

    for (source, _), (expected, _) in pairwise(cog_levels(name, resampling)):
        own = own_opacity(source[1], resampling)
        target_size = expected.shape[1:]
        beside = reduce_whole(
            source[:1], resampling, None, target_size, opacity(source[1])
        )
        itself = reduce_whole(source[1:], resampling, None, target_size, own)
        assert_close_to_gdal(itself, expected[1:], source[1:])
        if (resampling, dtype) != ("mode", "uint8"):  # GDAL looks at no mask there
            assert_close_to_gdal(beside, expected[:1], source[:1])


def test_alpha_of_another_type_hides_nothing():
    alpha = np.zeros((4, 4), np.float32)

    assert opacity(alpha) is None
    assert own_opacity(alpha, "average") is None


@pytest.mark.parametrize(
    "valid", [np.ones((2, 3), bool), np.ones((2, 2), np.int16)], ids=["shape", "dtype"]
)
def test_refuses_a_mask_that_does_not_fit(valid):
    with pytest.raises(ValueError, match="the pixels need bool or uint8 of shape"):
        reduce_whole(np.zeros((1, 2, 2), np.uint8), "average", valid=valid)


def test_names_the_kernels_when_one_is_unknown():
    with pytest.raises(ValueError, match=r"no 'sinc' kernel; choose from .*lanczos"):
        support("sinc")
