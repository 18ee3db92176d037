"""With its full resolution unaligned and nothing compressed, a file is GDAL's own."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from oracles import gdal_cog, raster, write

NORTH_UP = Affine(30.0, 0.0, 500000.0, 0.0, -30.0, 4000000.0)
DEGREES = Affine(0.1, 0.0, -20.0, 0.0, -0.1, 60.0)

CASES = {
    "one byte band": {"shape": (300, 400), "dtype": "uint8"},
    "RGB": {"shape": (3, 700, 600), "dtype": "uint8"},
    "RGB with nodata, odd": {"shape": (3, 701, 603), "dtype": "uint8", "nodata": 0},
    "four bands, named": {
        "shape": (4, 513, 515),
        "dtype": "uint16",
        "nodata": 7,
        "descriptions": ["a", "b <&> c", "c", "d"],
    },
    "five bands by pixel": {
        "shape": (5, 520, 300),
        "dtype": "uint16",
        "ours": {"interleave": "pixel"},
    },
    "tags in two places": {
        "shape": (2, 300, 301),
        "dtype": "int16",
        "nodata": -9999,
        "tags": {"FOO": "bär", "A": "x & y"},
        "band_tags": [{"K": "1"}, {"Z": "2", "B": "1"}],
    },
    "scale, offset, unit": {
        "shape": (600, 601),
        "dtype": "float32",
        "nodata": float("nan"),
        "scales": [0.1],
        "offsets": [2.5],
        "units": ["m"],
    },
    "long nodata text": {"shape": (2, 300, 300), "dtype": "float64", "nodata": -1e30},
    "south-up": {
        "shape": (300, 300),
        "dtype": "uint8",
        "transform": Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.5),
        "crs": "EPSG:4326",
    },
    "rotated": {
        "shape": (300, 300),
        "dtype": "uint8",
        "transform": Affine(1.0, 0.2, 5.0, 0.3, -1.0, 7.0),
        "crs": "EPSG:3857",
    },
    "geographic CRS": {
        "shape": (300, 300),
        "dtype": "uint8",
        "transform": DEGREES,
        "crs": "EPSG:4326",
    },
    "compound CRS": {"shape": (300, 300), "dtype": "uint8", "crs": "EPSG:7415"},
    "custom CRS": {
        "shape": (300, 300),
        "dtype": "uint8",
        "crs": "+proj=laea +lat_0=45.5 +lon_0=-114.1 +ellps=GRS80 +units=m",
    },
    "no georeferencing": {
        "shape": (300, 300),
        "dtype": "uint8",
        "crs": None,
        "transform": None,
    },
    "one pixel": {"shape": (1, 1), "dtype": "uint8"},
    "one row": {"shape": (1, 1000), "dtype": "uint8"},
    "one column": {"shape": (1000, 1), "dtype": "uint8"},
    "odd primes": {"shape": (1031, 777), "dtype": "uint32"},
    "signed bytes": {"shape": (520, 300), "dtype": "int8"},
    "64-bit integers": {"shape": (520, 300), "dtype": "int64"},
    "complex": {
        "shape": (520, 300),
        "dtype": "complex64",
        "resampling": "nearest",
    },
    "BigTIFF": {
        "shape": (2, 520, 300),
        "dtype": "uint16",
        "gdal": {"BIGTIFF": "YES"},
        "ours": {"bigtiff": True},
    },
    "statistics of integers": {
        "shape": (2, 520, 300),
        "dtype": "uint16",
        "nodata": 0,
        "descriptions": ["q", "r"],
        "band_tags": [{"A": "b"}, {"X": "y"}],
        "gdal": {"STATISTICS": "YES"},
        "ours": {"statistics": True},
    },
    "tiles of 128": {"shape": (2, 300, 400), "dtype": "uint16", "blocksize": 128},
    "tiles of 512": {"shape": (2, 1300, 1400), "dtype": "uint16", "blocksize": 512},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_file_is_byte_identical_to_gdals(tmp_path, monkeypatch, case):
    """Layout, tags, their order, overviews and padding are the COG driver's."""
    monkeypatch.setattr("lazycog._plan.FULL_RESOLUTION_ALIGNMENT", 1)
    case = dict(case)
    pixels = _pixels(case.pop("shape"), case.pop("dtype"))
    blocksize = case.pop("blocksize", 256)
    resampling = case.pop("resampling", "average")
    gdal, ours = case.pop("gdal", {}), case.pop("ours", {})
    geo = {name: case.pop(name) for name in ("crs", "transform") if name in case}
    expected = gdal_cog(
        tmp_path / "gdal.tif",
        pixels,
        COMPRESS="NONE",
        BLOCKSIZE=blocksize,
        OVERVIEW_RESAMPLING=resampling.upper(),
        **geo,
        **case,
        **gdal,
    )

    result = write(
        raster(pixels, **geo),
        tmp_path / "ours.tif",
        compress="none",
        blocksize=blocksize,
        overview_resampling=resampling,
        **{"nodata": None, "statistics": False, **case, **ours},
    )

    assert (tmp_path / "ours.tif").read_bytes() == expected.read_bytes()
    assert result.size == expected.stat().st_size


def _pixels(shape, dtype):
    generator = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        return generator.normal(100, 50, shape).astype(dtype)
    return generator.integers(0, 120, shape).astype(dtype)


def test_only_alignment_and_its_offsets_differ_by_default(tmp_path, monkeypatch):
    """The full resolution starts at a multiple of 4,096, behind zeros."""
    pixels = _pixels((2, 600, 700), "uint16")
    options = {"compress": "none", "blocksize": 256}
    write(raster(pixels), tmp_path / "aligned.tif", **options)
    monkeypatch.setattr("lazycog._plan.FULL_RESOLUTION_ALIGNMENT", 1)
    write(raster(pixels), tmp_path / "packed.tif", **options)

    aligned = (tmp_path / "aligned.tif").read_bytes()
    packed = (tmp_path / "packed.tif").read_bytes()

    full = 9 * (256 * 256 * 2 * 2 + 8)
    assert (len(aligned) - full) % 4096 == 0
    assert aligned[-full:] == packed[-full:]
    gap = len(aligned) - len(packed)
    assert aligned[-full - gap : -full] == bytes(gap)
