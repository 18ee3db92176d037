"""Sparse files leave empty tiles out; deduplicated ones store equal tiles once."""

from __future__ import annotations

import resource

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr

import lazycog
from oracles import async_geotiff_levels, gdal_levels, raster, write


def islands(height=1100, width=1300):
    """Give a mostly empty sea with two islands that are alike."""
    pixels = np.zeros((3, height, width), np.uint8)
    island = np.random.default_rng(0).integers(1, 255, (3, 128, 128), dtype=np.uint8)
    pixels[:, 128:256, 128:256] = island
    pixels[:, 640:768, 1024:1152] = island
    return pixels


def tile_offsets(path):
    """Give the offsets of all tiles, level by level."""
    with tifffile.TiffFile(path) as tiff:
        return [np.array(page.dataoffsets) for page in tiff.pages]


@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
def test_equal_tiles_are_stored_once(tmp_path, interleave):
    """Within a level and across levels and bands; every pixel reads the same."""
    pixels = islands()
    options = {"blocksize": 128, "interleave": interleave, "nodata": None}
    plain = write(raster(pixels), tmp_path / "plain.tif", **options)

    shared = write(raster(pixels), tmp_path / "shared.tif", deduplicate=True, **options)

    offsets = np.concatenate(tile_offsets(tmp_path / "shared.tif"))
    payloads = set()
    data = (tmp_path / "plain.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "plain.tif") as tiff:
        for page in tiff.pages:
            for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                payloads.add(data[start : start + size])
    assert len(set(offsets.tolist())) == len(payloads) < len(offsets) / 4
    assert shared.size < plain.size
    expected = gdal_levels(tmp_path / "plain.tif")
    for read in (gdal_levels, async_geotiff_levels):
        for ours, level in zip(read(tmp_path / "shared.tif"), expected, strict=True):
            np.testing.assert_array_equal(ours, level)


def test_shared_tiles_promise_no_order(tmp_path):
    """A reader that trusts the order would fetch everything in between."""
    write(raster(islands()), tmp_path / "a.tif", deduplicate=True, blocksize=128)

    head = (tmp_path / "a.tif").read_bytes()[:300]
    assert b"BLOCK_ORDER" not in head
    assert b"BLOCK_LEADER=SIZE_AS_UINT4" in head
    assert lazycog.validate(tmp_path / "a.tif").ok


@pytest.mark.parametrize(
    ("chunks", "scheduler"),
    [
        ((1, 200, 333), "synchronous"),
        ((1, 200, 333), "processes"),
        ((3, 1100, 1300), "threads"),
        ((2, 512, 1300), "threads"),
    ],
)
@pytest.mark.parametrize("options", [{"deduplicate": True}, {"sparse": True}], ids=str)
def test_same_bytes_for_any_chunking(tmp_path, chunks, scheduler, options):
    """Which tile is kept depends on the file's order alone."""
    pixels = islands()
    write(raster(pixels), tmp_path / "a.tif", blocksize=128, **options)

    array = raster(pixels).chunk(dict(zip(("band", "y", "x"), chunks, strict=True)))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        lazycog.to_cog(
            array, tmp_path / "b.tif", blocksize=128, progress=False, **options
        )

    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()


def test_sparse_tiles_have_no_bytes(tmp_path):
    """Offset and byte count are 0; GDAL gives nodata there."""
    pixels = islands()[0]
    pixels[pixels == 0] = 255

    write(raster(pixels, nodata=255), tmp_path / "a.tif", sparse=True, blocksize=128)

    offsets = tile_offsets(tmp_path / "a.tif")
    assert (offsets[0] == 0).sum() == offsets[0].size - 2
    np.testing.assert_array_equal(gdal_levels(tmp_path / "a.tif")[0][0], pixels)


def test_tiles_are_never_left_out_by_accident(tmp_path):
    """Without sparse=True every tile has bytes."""
    write(raster(np.zeros((600, 600), "u1"), nodata=0), tmp_path / "a.tif")

    assert all((each > 0).all() for each in tile_offsets(tmp_path / "a.tif"))


def test_sparse_and_shared_together(tmp_path):
    """Empty tiles are left out, the equal ones among the others stored once."""
    pixels = islands()

    write(
        raster(pixels),
        tmp_path / "a.tif",
        sparse=True,
        deduplicate=True,
        blocksize=128,
        mask=True,
        nodata=0,
    )

    np.testing.assert_array_equal(gdal_levels(tmp_path / "a.tif")[0], pixels)
    assert lazycog.validate(tmp_path / "a.tif").ok


@pytest.mark.large
@pytest.mark.parametrize("option", ["sparse", "deduplicate"])
def test_a_world_of_oceans(tmp_path, option):
    """262,144 x 131,072 RGB, 103 GB raw: a small file in flat memory."""

    def land(block_info=None):
        where = block_info[None]["chunk-location"]
        shape = block_info[None]["chunk-shape"]
        if where[1] % 8 == 3 and where[2] % 8 == 5:
            return np.random.default_rng(where).integers(0, 255, shape, dtype=np.uint8)
        return np.zeros(shape, np.uint8)

    chunks = ((3,), (2048,) * 64, (2048,) * 128)
    world = da.map_blocks(land, chunks=chunks, dtype=np.uint8)
    array = xr.DataArray(world, dims=("band", "y", "x"))

    with dask.config.set(scheduler="threads", num_workers=2):
        result = lazycog.to_cog(
            array,
            tmp_path / "world.tif",
            nodata=0,
            statistics=False,
            **{option: True},
        )

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert result.size < 0.03 * result.raw_bytes
    assert peak <= result.plan.peak_bytes(2)
