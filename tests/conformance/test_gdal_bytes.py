"""With its full resolution unaligned and nothing compressed, a file is GDAL's own."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

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
    "RGB with mask": {"shape": (3, 700, 601), "dtype": "uint8", "mask": "random"},
    "mask of patches": {"shape": (2, 1031, 777), "dtype": "uint16", "mask": "patches"},
    "mask and nodata": {
        "shape": (1, 515, 300),
        "dtype": "int16",
        "nodata": 7,
        "mask": "patches",
    },
    "mask of a single tile": {
        "shape": (200, 100),
        "dtype": "float32",
        "nodata": None,
        "mask": "random",
    },
    "mask, nearest": {
        "shape": (3, 700, 601),
        "dtype": "uint8",
        "mask": "patches",
        "resampling": "nearest",
    },
    "mask, BigTIFF": {
        "shape": (520, 300),
        "dtype": "uint8",
        "mask": "patches",
        "gdal": {"BIGTIFF": "YES"},
        "ours": {"bigtiff": True},
    },
    "RGBA": {"shape": (4, 520, 300), "dtype": "uint8", "alpha": True},
    "four bytes without alpha": {
        "shape": (4, 520, 300),
        "dtype": "uint8",
        "colorinterp": ["gray", "undefined", "undefined", "undefined"],
    },
    "false colour": {
        "shape": (3, 300, 300),
        "dtype": "uint16",
        "colorinterp": ["red", "green", "blue"],
    },
    "bands in another order": {
        "shape": (3, 300, 300),
        "dtype": "uint8",
        "colorinterp": ["blue", "green", "red"],
    },
    "palette": {
        "shape": (520, 300),
        "dtype": "uint8",
        "resampling": "nearest",
        "colormap": {0: (1, 2, 3, 255), 5: (200, 100, 50, 255), 119: (9, 9, 9, 255)},
    },
    "ground control points": {
        "shape": (300, 300),
        "dtype": "uint8",
        "transform": None,
        "gcps": [
            GroundControlPoint(row=0, col=0, x=10.0, y=50.0, z=1.0),
            GroundControlPoint(row=0, col=299, x=11.0, y=50.0),
            GroundControlPoint(row=299, col=0, x=10.0, y=49.5),
            GroundControlPoint(row=299, col=299, x=11.2, y=49.4),
        ],
        "crs": "EPSG:4326",
    },
    "rational polynomials": {
        "shape": (300, 300),
        "dtype": "uint8",
        "transform": None,
        "crs": None,
        "rpcs": RPC(
            height_off=100.0,
            height_scale=500.0,
            lat_off=45.0,
            lat_scale=0.1,
            line_den_coeff=[1.0, *([0.001] * 19)],
            line_num_coeff=[0.002] * 20,
            line_off=150.0,
            line_scale=150.0,
            long_off=9.0,
            long_scale=0.1,
            samp_den_coeff=[1.0, *([0.003] * 19)],
            samp_num_coeff=[0.004] * 20,
            samp_off=150.0,
            samp_scale=150.0,
        ),
    },
    "area or point": {
        "shape": (300, 300),
        "dtype": "uint8",
        "tags": {"AREA_OR_POINT": "Point"},
    },
    "sparse": {
        "shape": (2, 1031, 777),
        "dtype": "uint16",
        "empty": 0,
        "gdal": {"SPARSE_OK": "YES"},
        "ours": {"sparse": True},
    },
    "sparse with nodata": {
        "shape": (1031, 777),
        "dtype": "int16",
        "nodata": -7,
        "empty": -7,
        "gdal": {"SPARSE_OK": "YES"},
        "ours": {"sparse": True},
    },
    "sparse with NaN": {
        "shape": (1031, 777),
        "dtype": "float32",
        "nodata": float("nan"),
        "empty": float("nan"),
        "gdal": {"SPARSE_OK": "YES"},
        "ours": {"sparse": True},
    },
    "sparse with mask": {
        "shape": (3, 1031, 777),
        "dtype": "uint8",
        "empty": 0,
        "mask": "empty",
        "gdal": {"SPARSE_OK": "YES"},
        "ours": {"sparse": True},
    },
    "nothing but missing": {
        "shape": (520, 300),
        "dtype": "uint8",
        "nodata": 3,
        "empty": 3,
        "mask": "none",
        "gdal": {"SPARSE_OK": "YES"},
        "ours": {"sparse": True},
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
    if "empty" in case:
        pixels[..., : pixels.shape[-2] * 3 // 4, :] = case.pop("empty")
    if case.pop("alpha", False):
        pixels[3] = 255 * _mask("patches", pixels)
    if "mask" in case:
        case["mask"] = _mask(case["mask"], pixels)
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


def _mask(kind, pixels):
    """Give where pixels are valid."""
    size = pixels.shape[-2:]
    generator = np.random.default_rng(5)
    if kind == "random":
        return generator.random(size) < 0.6
    mask = np.zeros(size, np.bool_)
    if kind == "patches":
        for _ in range(6):
            row, col = (int(generator.integers(0, side)) for side in size)
            mask[row : row + size[0] // 3 + 1, col : col + size[1] // 3 + 1] = True
    if kind == "empty":
        mask[size[0] * 3 // 4 :] = True
    return mask


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


@pytest.mark.skipif(
    tuple(map(int, rasterio.__gdal_version__.split(".")[:2])) < (3, 11),
    reason="GDAL interleaves COGs by band and tile since 3.11",
)
@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_interleaves_are_gdals(tmp_path, monkeypatch, interleave, masked, sparse):
    """With masks and with tiles that are left out."""
    monkeypatch.setattr("lazycog._plan.FULL_RESOLUTION_ALIGNMENT", 1)
    pixels = _pixels((3, 700, 601), "uint16")
    pixels[:, :512] = 0
    mask = {"mask": _mask("patches", pixels)} if masked else {}
    expected = gdal_cog(
        tmp_path / "gdal.tif",
        pixels,
        COMPRESS="NONE",
        BLOCKSIZE=256,
        OVERVIEW_RESAMPLING="AVERAGE",
        INTERLEAVE=interleave.upper(),
        SPARSE_OK=str(sparse),
        **mask,
    )

    write(
        raster(pixels),
        tmp_path / "ours.tif",
        compress="none",
        blocksize=256,
        interleave=interleave,
        nodata=None,
        statistics=False,
        sparse=sparse,
        **mask,
    )

    assert (tmp_path / "ours.tif").read_bytes() == expected.read_bytes()
