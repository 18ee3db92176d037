"""Reading back: what rioxarray says, for files of several writers, local and remote."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

import lazycog
import oracles
from lazycog import _fetch, _location, _reader
from oracles import gtiff
from range_server import serving

DATA = Path(__file__).parents[2].parent / "shared" / "data"
ROTATED = Affine(20.0, 5.0, 300000.0, 4.0, -21.0, 5000000.0)


def noise(count, height, width, dtype="uint16", seed=0):
    """Smooth noise, so that predictors and codecs have something to do."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    base = 100 + 40 * np.sin(rows / 17) * np.cos(cols / 23)
    pixels = base + rng.normal(0, 3, (count, height, width))
    if np.dtype(dtype).kind == "c":
        return (pixels + 1j * pixels[::-1]).astype(dtype)
    return pixels.astype(dtype)


TILED = {"tiled": True, "blockxsize": 64, "blockysize": 32}


def _own(path, **options):
    array = oracles.raster(
        noise(3, 300, 420),
        nodata=0,
        long_name=("red", "green", "nir"),
        units=("W", "W", "W"),
        made_by="me",
    )
    oracles.write(array, path, blocksize=64, **options)


def _own_banded(path):
    array = oracles.raster(noise(6, 200, 300), nodata=7)
    oracles.write(array, path, blocksize=64, compress="deflate")


def _own_floats(path):
    pixels = noise(2, 257, 311, "float32")
    pixels[:, 20:60, 30:80] = np.nan
    oracles.write(oracles.raster(pixels, scale_factor=0.5), path, blocksize=64)


def _gdal(path, **creation):
    oracles.gdal_cog(
        path,
        noise(3, 300, 400),
        nodata=3,
        tags={"project": "x", "number": "12"},
        band_tags=[{"wavelength": "0.6"}, {}, {}],
        descriptions=["red", "green", "blue"],
        scales=[0.1, 0.1, 0.1],
        offsets=[5, 5, 5],
        units=["m", "m", "m"],
        blocksize=128,
        **creation,
    )


def _masked(path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        gtiff(
            path,
            noise(3, 200, 260, "uint8"),
            **TILED,
            compress="deflate",
            after=lambda dataset: dataset.write_mask(
                np.tri(200, 260, dtype=bool) | (np.arange(260) > 200)
            ),
        )


def _sparse(path):
    pixels = np.zeros((1, 256, 256), "uint16")
    pixels[:, 40:90, 100:140] = 5
    gtiff(path, pixels, **TILED, sparse_ok=True, nodata=0, compress="deflate")


def _with_gcps(path):
    points = [
        GroundControlPoint(row=r, col=c, x=10 + c / 100, y=50 - r / 100)
        for r, c in [(0, 0), (0, 99), (79, 0), (79, 99)]
    ]

    def set_gcps(dataset):
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))

    gtiff(
        path, noise(1, 80, 100), crs=None, transform=None, after=set_gcps, tiled=True,
        blockxsize=16, blockysize=16,
    )  # fmt: skip


def _with_overviews(path):
    gtiff(path, noise(2, 400, 500, "int16"), **TILED, compress="lzw", predictor=2)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)


def _palette(path):
    def colour(dataset):
        dataset.write_colormap(1, {0: (255, 0, 0, 255), 100: (0, 255, 0, 255)})

    gtiff(path, noise(1, 90, 120, "uint8"), **TILED, after=colour)


TILES, GDAL = True, False
"""Who reads a remote file."""
FILES = {
    "own": (_own, TILES),
    "own lzw": (lambda path: _own(path, compress="lzw", predictor=1), TILES),
    "own plain": (lambda path: _own(path, compress="none"), TILES),
    "own bands apart": (_own_banded, TILES),
    "own floats": (_own_floats, TILES),
    "gdal deflate": (lambda path: _gdal(path, compress="DEFLATE"), TILES),
    "gdal zstd": (lambda path: _gdal(path, compress="ZSTD", predictor="YES"), TILES),
    "gdal lerc": (lambda path: _gdal(path, compress="LERC"), GDAL),
    "gdal jpeg": (
        lambda path: oracles.gdal_cog(
            path, noise(3, 200, 200, "uint8"), compress="JPEG", blocksize=128
        ),
        GDAL,
    ),
    "gdal webp": (
        lambda path: oracles.gdal_cog(
            path, noise(3, 200, 200, "uint8"), compress="WEBP", blocksize=128
        ),
        GDAL,
    ),
    "differing scales": (
        lambda path: oracles.gdal_cog(
            path, noise(2, 90, 120), scales=[1, 2], offsets=[0, 1], blocksize=128
        ),
        TILES,
    ),
    "lzma": (
        lambda path: gtiff(path, noise(2, 90, 120), **TILED, compress="lzma"),
        TILES,
    ),
    "packbits": (
        lambda path: gtiff(path, noise(2, 90, 120), **TILED, compress="packbits"),
        GDAL,
    ),
    "strips": (lambda path: gtiff(path, noise(2, 90, 120), compress="deflate"), GDAL),
    "bands apart": (
        lambda path: gtiff(
            path, noise(4, 90, 120), **TILED, interleave="band", compress="deflate"
        ),
        TILES,
    ),
    "bands apart, predictor": (
        lambda path: gtiff(
            path,
            noise(4, 90, 120),
            **TILED,
            interleave="band",
            compress="deflate",
            predictor=2,
        ),
        GDAL,
    ),
    "floats, predictor": (
        lambda path: gtiff(
            path, noise(3, 90, 120, "float64"), **TILED, compress="zstd", predictor=3
        ),
        TILES,
    ),
    "signed bytes": (
        lambda path: gtiff(path, noise(1, 90, 120, "int8"), **TILED),
        TILES,
    ),
    "64 bits": (
        lambda path: gtiff(
            path, noise(1, 90, 120, "int64"), **TILED, nodata=-(2**53), predictor=2,
            compress="deflate",
        ),
        TILES,
    ),
    "complex": (
        lambda path: gtiff(path, noise(2, 90, 120, "complex64"), **TILED),
        GDAL,
    ),
    "one bit": (
        lambda path: gtiff(
            path, (noise(1, 90, 120, "uint8") > 100).astype("uint8"), **TILED, nbits=1
        ),
        GDAL,
    ),
    "big-endian": (
        lambda path: gtiff(
            path, noise(2, 90, 120), **TILED, endianness="BIG", predictor=2,
            compress="lzw",
        ),
        TILES,
    ),
    "mask": (_masked, TILES),
    "sparse": (_sparse, TILES),
    "rotated": (
        lambda path: gtiff(path, noise(1, 90, 120), **TILED, transform=ROTATED),
        TILES,
    ),
    "no place": (
        lambda path: gtiff(path, noise(1, 90, 120), **TILED, crs=None, transform=None),
        TILES,
    ),
    "control points": (_with_gcps, TILES),
    "overviews behind": (_with_overviews, TILES),
    "palette": (_palette, TILES),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All files of the table, written once."""
    folder = tmp_path_factory.mktemp("files")
    for name, (make, _) in FILES.items():
        make(folder / f"{name}.tif")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder) as server:
        yield server


def by_rioxarray(path, level=0):
    """Open as rioxarray does, without its warnings."""
    options = {"overview_level": level - 1} if level else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.filterwarnings("ignore", message="(Scales|Offsets) differ")
        return rioxarray.open_rasterio(path, chunks={}, lock=False, **options)


def assert_same(actual, expected):
    """The same in everything that xarray knows, types of attributes included."""
    xr.testing.assert_identical(actual.compute(), expected.compute())
    assert actual.dtype == expected.dtype
    assert {key: type(value) for key, value in actual.attrs.items()} == {
        key: type(value) for key, value in expected.attrs.items()
    }
    for name, coord in expected.coords.items():
        assert actual.coords[name].attrs == coord.attrs
        assert actual.coords[name].dtype == coord.dtype
    assert actual.rio.transform() == expected.rio.transform()
    assert actual.rio.crs == expected.rio.crs


@pytest.fixture(autouse=True)
def placed_or_not():
    """rasterio warns of files without a place, in these tests too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def known_to_rioxarray(array):
    """Leave out of the encoding what rioxarray does not read at all."""
    own = {"mask", "colormap", "colorinterp", "tag_namespaces"}
    return {key: value for key, value in array.encoding.items() if key not in own}


def levels(path):
    with rasterio.open(path) as dataset:
        return range(1 + len(dataset.overviews(1)))


@pytest.mark.parametrize("name", FILES)
def test_local_files_are_as_rioxarray_opens_them(folder, name):
    path = folder / f"{name}.tif"

    for level in levels(path):
        actual, expected = lazycog.open_cog(path, level), by_rioxarray(path, level)

        assert_same(actual, expected)
        assert known_to_rioxarray(actual) == expected.encoding


@pytest.mark.parametrize("name", FILES)
def test_remote_files_are_as_rioxarray_opens_them(folder, server, name):
    """By tiles where the header says that this is safe, else by GDAL."""
    path, url = folder / f"{name}.tif", server.url(f"{name}.tif".replace(" ", "%20"))

    for level in levels(path):
        actual, expected = lazycog.open_cog(url, level), by_rioxarray(path, level)

        assert_same(actual, expected)
        assert known_to_rioxarray(actual) == {**expected.encoding, "source": url}
        assert _reader.source_of(actual.data).pixels.by_tiles is FILES[name][1]


@pytest.mark.parametrize("name", FILES)
def test_remote_windows_are_those_of_gdal(folder, server, name):
    """Across tiles, not aligned to them, and some bands alone."""
    url = server.url(f"{name}.tif".replace(" ", "%20"))
    with rasterio.open(folder / f"{name}.tif") as dataset:
        pixels = dataset.read()
    bands = [pixels.shape[0], 1]

    window = asyncio.run(lazycog.read_window(url, (13, 77), (5, 99), bands=bands))

    expected = pixels[[each - 1 for each in bands], 13:77, 5:99]
    assert np.array_equal(window, expected, equal_nan=pixels.dtype.kind in "fc")


@pytest.mark.parametrize("name", ["RGB.byte.tif", "LC80030172015001LGN00_B4.tiff"])
def test_real_files_are_as_rioxarray_opens_them(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")

    actual, expected = lazycog.open_cog(path), by_rioxarray(path)

    assert_same(actual, expected)
    assert known_to_rioxarray(actual) == expected.encoding


# --- levels and chunks --------------------------------------------------------------


def test_negative_levels_count_from_the_smallest(folder):
    path = folder / "own.tif"

    smallest = lazycog.open_cog(path, level=-1)

    assert smallest.identical(lazycog.open_cog(path, level=levels(path)[-1]))
    assert lazycog.open_cog(path, level=-len(levels(path))).shape == (3, 300, 420)


@pytest.mark.parametrize("level", [4, -5, 1.0, True], ids=str)
def test_wrong_level_is_an_error_that_counts_them(folder, level):
    with pytest.raises(lazycog.OptionError, match=r"level\(s\), 0 to 3|whole number"):
        lazycog.open_cog(folder / "own.tif", level=level)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (None, (3, 300, 420)),
        (-1, (3, 300, 420)),
        (100, (3, 100, 100)),
        ((1, 64, 128), (1, 64, 128)),
        ({"y": 64}, (3, 64, 420)),
        ({"band": 1, "x": 128, "y": -1}, (1, 300, 128)),
    ],
    ids=str,
)
def test_chunks_are_those_asked_for(folder, chunks, expected):
    array = lazycog.open_cog(folder / "own.tif", chunks=chunks)

    assert tuple(max(sizes) for sizes in array.chunks) == expected
    assert array.identical(by_rioxarray(folder / "own.tif"))


@pytest.mark.parametrize("chunks", [{"time": 1}, (1, 2), "large", ((1, 1), 5, 5), 0])
def test_illegal_chunks_are_an_error(folder, chunks):
    with pytest.raises(lazycog.OptionError, match="chunks"):
        lazycog.open_cog(folder / "own.tif", chunks=chunks)


@pytest.mark.parametrize("name", ["own", "own bands apart", "own floats"])
@pytest.mark.parametrize("limit", ["64kiB", "500kiB", "128MiB"])
def test_automatic_chunks_are_whole_tiles_below_the_limit(folder, name, limit):
    with dask.config.set({"array.chunk-size": limit}):
        array = lazycog.open_cog(folder / f"{name}.tif")

    bands, rows, cols = array.chunks
    nbytes = bands[0] * rows[0] * cols[0] * array.dtype.itemsize
    one_tile = 64 * 64 * array.dtype.itemsize * bands[0]
    assert nbytes <= max(one_tile, dask.utils.parse_bytes(limit))
    assert all(size % 64 == 0 for size in (*rows[:-1], *cols[:-1]))
    assert len(rows) == 1 or nbytes > dask.utils.parse_bytes(limit) / 4 or (
        rows[0] == cols[0] == 64
    )  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        (0,),
        (slice(None), 5, 7),
        (slice(None, None, -1), slice(250, 40, -7), slice(3, 200, 2)),
        (slice(1, 3), slice(60, 70), slice(400, None)),
        (slice(0), slice(None), 1),
        (-1, -1, slice(-9, None)),
        ([2, 0], slice(10, 20), 5),
        (slice(None), [299, 3, 3], slice(60, 70)),
        (slice(None), slice(60, 70), np.array([5, -400, 64])),
        ([], slice(None), 5),
    ],
    ids=str,
)
def test_indexing_gives_what_numpy_gives(folder, key):
    array = lazycog.open_cog(folder / "own.tif", chunks={"y": 128, "x": 128}).data
    pixels = array.compute()

    assert np.array_equal(array[key].compute(), _outer(pixels, key))


@pytest.mark.parametrize(
    "key",
    [
        (slice(1, 3), [7, 2, 299], slice(50, 90, 3)),
        ([2, 0], np.array([9, 8]), [4, 400, 4]),
        (1, [], slice(None)),
    ],
    ids=str,
)
def test_lists_of_indexes_may_reach_the_reader(folder, key):
    """Dask may fuse what it takes from a chunk into the reading of it."""
    array = lazycog.open_cog(folder / "own.tif").data
    pixels = array.compute()

    assert np.array_equal(_reader.source_of(array).pixels[key], _outer(pixels, key))


def _outer(pixels, key):
    for axis, each in reversed(list(enumerate(key))):
        pixels = pixels[(slice(None),) * axis + (each,)]
    return pixels


# --- the graph ----------------------------------------------------------------------


def test_one_task_per_chunk_and_nothing_heavy_in_it(server):
    array = lazycog.open_cog(
        server.url("own.tif"),
        chunks=(3, 64, 64),
        storage_options={"headers": {"Authorization": "Bearer hidden"}},
    )
    graph = array.__dask_graph__()

    assert len(graph) == array.data.npartitions
    assert len(pickle.dumps(graph)) < 5000 + 40 * len(graph)
    assert "hidden" not in repr(array) + repr(graph) + str(list(graph))


def test_names_of_arrays_tell_files_levels_and_versions_apart(folder, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes((folder / "own.tif").read_bytes())
    first = lazycog.open_cog(path)
    again, smaller = lazycog.open_cog(path), lazycog.open_cog(path, 1)
    os.utime(path, (1, 1))
    touched = lazycog.open_cog(path)

    assert first.data.name == again.data.name
    assert len({each.data.name for each in (first, smaller, touched)}) == 3


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("name", ["own", "own bands apart"])
def test_every_scheduler_reads(folder, server, scheduler, name):
    for src in (folder / f"{name}.tif", server.url(f"{name}.tif").replace(" ", "%20")):
        array = lazycog.open_cog(src, chunks={"y": 128, "x": 256})

        pixels = array.compute(scheduler=scheduler)

        assert pixels.identical(by_rioxarray(folder / f"{name}.tif").compute())


@pytest.mark.distributed
def test_workers_of_a_cluster_read(folder, server, cluster):
    arrays = [
        lazycog.open_cog(src, chunks={"y": 128, "x": 128}).data
        for src in (folder / "own.tif", server.url("own.tif"))
    ]

    local, remote = cluster.gather(cluster.compute(arrays))

    assert np.array_equal(local, remote)
    assert np.array_equal(local, by_rioxarray(folder / "own.tif").values)


def test_a_file_replaced_meanwhile_is_refused(folder, tmp_path):
    """Its tiles may be anywhere now."""
    path = tmp_path / "a.tif"
    path.write_bytes((folder / "own.tif").read_bytes())
    array = lazycog.open_cog(path)
    path.write_bytes((folder / "gdal zstd.tif").read_bytes())

    with pytest.raises(lazycog.InputError, match="has changed since it was opened"):
        array.compute()


@pytest.mark.parametrize("name", ["own", "bands apart, predictor"])
def test_process_ends_cleanly_right_after_a_read(server, name):
    """Neither threads nor open files of either reader outlive the interpreter."""
    code = (
        "import sys, asyncio, lazycog\n"
        "asyncio.run(lazycog.read_window(sys.argv[1], (0, 9), (0, 9)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, server.url(f"{name}.tif".replace(" ", "%20"))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, b"")


# --- requests -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Incompressible, 24 MB in 256 tiles, so that bytes and requests can be told."""
    folder = tmp_path_factory.mktemp("large")
    pixels = np.random.default_rng(5).integers(0, 60000, (3, 2048, 2048), "uint16")
    oracles.write(oracles.raster(pixels), folder / "large.tif", blocksize=128)
    with serving(folder) as server:
        yield server


def test_opening_takes_few_requests(large):
    large.reset()

    lazycog.open_cog(large.url("large.tif"))

    assert len(large.requests) <= 4
    assert large.sent_bytes < 300_000


def test_a_full_scan_reads_each_byte_once(large):
    """Neighbouring tiles come in one request."""
    array = lazycog.open_cog(large.url("large.tif"), chunks={"y": 512, "x": 2048})
    lazycog.open_cog(large.url("large.tif")).data[:, :1, :1].compute()
    large.reset()

    array.data.sum().compute(scheduler="synchronous")

    encoded = 3 * 2048 * 2048 * 2
    assert len(large.ranges) <= 16
    assert encoded * 0.9 < large.sent_bytes < encoded * 1.1


def test_a_window_takes_its_tiles_alone(large):
    """Not the chunk around it, and not what lies between its rows of tiles."""
    url = large.url("large.tif")
    asyncio.run(lazycog.read_window(url, (0, 1), (0, 1)))
    large.reset()

    asyncio.run(lazycog.read_window(url, (100, 300), (900, 1000)))

    tile_bytes = 128 * 128 * 3 * 2
    assert len(large.requests) <= 3
    assert large.sent_bytes < 6.3 * tile_bytes


def test_a_slice_of_the_lazy_array_takes_its_tiles_alone(large):
    """Of a chunk that is much larger, also where more is done to the slice."""
    array = lazycog.open_cog(large.url("large.tif"))
    array[:, :1, :1].compute()
    large.reset()

    (array[:, 100:300, 900:1000].astype("float32") * 2).mean().compute()

    tile_bytes = 128 * 128 * 3 * 2
    assert array.data.npartitions == 1
    assert len(large.requests) <= 3
    assert large.sent_bytes < 6.3 * tile_bytes


def test_windows_overlap_in_time(folder):
    """Twenty windows over a slow network take as long as a few, not twenty times."""
    with serving(folder, latency=0.1) as server:
        url = server.url("own.tif")

        async def read():
            await lazycog.read_window(url, (0, 1), (0, 1))
            begin = time.perf_counter()
            await asyncio.gather(
                *(
                    lazycog.read_window(url, (row, row + 9), (0, 9))
                    for row in range(0, 280, 14)
                )
            )
            return time.perf_counter() - begin

        assert asyncio.run(read()) < 10 * 0.1


def test_a_slow_network_costs_less_than_with_rioxarray(large):
    """A full scan over 50 ms per request: fewer requests, less time."""
    code = """
import sys, time, lazycog, rioxarray
begin = time.perf_counter()
chunks = {"band": 3, "y": 512, "x": 2048}
if sys.argv[1] == "lazycog":
    array = lazycog.open_cog(sys.argv[2], chunks=chunks)
else:
    array = rioxarray.open_rasterio(sys.argv[2], chunks=chunks, lock=False)
print(int(array.data.sum().compute()), time.perf_counter() - begin)
"""
    found = {}
    with serving(large.folder, latency=0.05) as server:
        for reader in ("rioxarray", "lazycog"):
            server.reset()
            result = subprocess.run(
                [sys.executable, "-c", code, reader, server.url("large.tif")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=True,
            )
            total, seconds = result.stdout.split()
            found[reader] = int(total), float(seconds), len(server.requests)

    total, seconds, requests = found["lazycog"]
    assert total == found["rioxarray"][0]
    assert seconds < found["rioxarray"][1]
    assert requests < found["rioxarray"][2]


def test_headers_are_sent(folder):
    with serving(folder, authorization="Bearer me") as server:
        url = server.url("own.tif")
        headers = {"headers": {"Authorization": "Bearer me"}}

        array = lazycog.open_cog(url, storage_options=headers).compute()

        assert array.identical(by_rioxarray(folder / "own.tif").compute())
        with pytest.raises(lazycog.InputError, match="cannot be read"):
            lazycog.open_cog(url)


def test_url_with_a_query_is_read_too(folder, server):
    """As signed URLs have one. In another process: while GDAL opens a URL, no other
    thread of Python can run, not even that of the server."""
    code = "import sys, lazycog; print(int(lazycog.open_cog(sys.argv[1]).sum()))"

    result = subprocess.run(
        [sys.executable, "-c", code, server.url("own.tif?signature=x")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert int(result.stdout) == by_rioxarray(folder / "own.tif").values.sum()


# --- what cannot be read ------------------------------------------------------------


def test_missing_files_are_named(tmp_path, server):
    for src in (tmp_path / "none.tif", server.url("none.tif")):
        message = r"none\.tif: no such file; give another path or URL"
        with pytest.raises(lazycog.SourceNotFoundError, match=message):
            lazycog.open_cog(src)


@pytest.mark.parametrize("read", [lazycog.open_cog, lazycog.validate])
def test_what_is_no_path_is_refused(read):
    with pytest.raises(lazycog.OptionError, match="path or URL, not DataArray"):
        read(oracles.raster(np.eye(9)))


def test_what_is_no_geotiff_is_refused(tmp_path):
    text, png = tmp_path / "a.txt", tmp_path / "a.png"
    text.write_text("no raster")
    lazycog.quicklook(oracles.raster(noise(1, 9, 9)), png)

    with pytest.raises(lazycog.InputError, match="GDAL cannot open it"):
        lazycog.open_cog(text)
    with pytest.raises(lazycog.InputError, match="is PNG, not a GeoTIFF"):
        lazycog.open_cog(png)


def test_damaged_tile_is_an_error_not_pixels(folder, tmp_path):
    """Both readers say which file."""
    data = bytearray((folder / "own.tif").read_bytes())
    data[-20000:-100] = bytes(19900)
    (tmp_path / "a.tif").write_bytes(data)
    with serving(tmp_path) as server:
        for src in (tmp_path / "a.tif", server.url("a.tif")):
            array = lazycog.open_cog(src)
            with pytest.raises(lazycog.InputError, match=r"a\.tif.* cannot"):
                array.compute()


def test_without_the_extra_urls_name_it(server, monkeypatch):
    for name in ("async_tiff", "obstore"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            _location.open_store.cache_clear()
            with pytest.raises(
                lazycog.MissingExtraError, match=r"pip install 'lazycog\[read\]'"
            ):
                lazycog.open_cog(server.url("own.tif"))


def test_without_the_extra_local_files_are_read(folder, monkeypatch):
    for name in ("async_tiff", "obstore"):
        monkeypatch.setitem(sys.modules, name, None)

    array = lazycog.open_cog(folder / "own.tif").compute()

    assert array.identical(by_rioxarray(folder / "own.tif").compute())


@pytest.mark.parametrize(
    ("rows", "cols"), [((0, 301), (0, 1)), ((5, 5), (0, 1)), ((0, 1), (-1, 4))]
)
def test_window_outside_is_an_error(folder, rows, cols):
    with pytest.raises(lazycog.OptionError, match=r"is no window of level 0"):
        asyncio.run(lazycog.read_window(folder / "own.tif", rows, cols))


@pytest.mark.parametrize("bands", [[0], [4], []], ids=str)
def test_band_that_is_not_there_is_an_error(folder, bands):
    with pytest.raises(lazycog.InputError, match="numbered 1 to 3"):
        asyncio.run(
            lazycog.read_window(folder / "own.tif", (0, 1), (0, 1), bands=bands)
        )


# --- from COG to COG ----------------------------------------------------------------


@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_cog_to_cog_reads_each_chunk_once(
    folder, server, tmp_path, monkeypatch, remote
):
    """And gives the same pixels in every level."""
    seen = []
    read = _fetch.read

    def counted(pixels, window):
        seen.append(window)
        return read(pixels, window)

    monkeypatch.setattr(_fetch, "read", counted)
    src = server.url("own.tif") if remote else folder / "own.tif"
    array = lazycog.open_cog(src, chunks={"y": 64, "x": 128})

    oracles.write(array, tmp_path / "b.tif", blocksize=64)

    assert len(seen) == len(set(seen)) == array.data.npartitions
    first, second = map(oracles.gdal_levels, (folder / "own.tif", tmp_path / "b.tif"))
    assert all(map(np.array_equal, first, second))
    assert len(first) == len(second)
