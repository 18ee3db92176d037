"""Same raster, same options -> same bytes, whatever computes them and in what order."""

from __future__ import annotations

import functools
import random

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lazycog
from oracles import gdal_levels, raster, write

HEIGHT, WIDTH = 1061, 2087
CHUNKINGS = {
    "single-band chunks": (1, 700, 900),
    "256": (4, 256, 256),
    "1000x700": (2, 1000, 700),
    "whole width": (4, 130, WIDTH),
    "whole scene": (4, HEIGHT, WIDTH),
    "plan-sized": (4, 1024, 1024),
    "ragged": ((3, 1), (61, 1000), (7, 2000, 80)),
}
OPTIONS = {
    "default": {},
    "without statistics": {"statistics": False},
    "by band": {"interleave": "band", "compress": "lzw"},
    "by tile": {"interleave": "tile", "compress": "deflate", "level": 1},
    "uncompressed mode": {"compress": "none", "overview_resampling": "mode"},
    "masked": {"mask": True, "overview_resampling": "cubic"},
    "masked by band": {"mask": True, "interleave": "band"},
    "sparse": {"sparse": True, "overview_resampling": "gauss"},
    "shared": {"deduplicate": True},
    "bounded": {"max_z_error": 20, "overview_resampling": "lanczos"},
    "LERC": {"compress": "lerc_zstd", "interleave": "band", "max_z_error": 5},
    "other overviews": {"overview_compress": "deflate", "overview_predictor": 1},
}
LOSSLESS = ["none", "lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_zstd"]
KERNELS = ["nearest", "average", "mode", "rms", "bilinear"]
KERNELS += ["cubic", "cubicspline", "lanczos", "gauss"]


@functools.cache
def _pixels(shape=(4, HEIGHT, WIDTH), seed=3):
    generator = np.random.default_rng(seed)
    smooth = np.cumsum(generator.integers(-3, 4, shape), axis=-1) + 500
    pixels = smooth.astype("uint16")
    pixels[:, 100:300, 200:900] = 0
    return pixels


@pytest.fixture(scope="module")
def pixels():
    """The raster that every test here writes."""
    return _pixels()


@pytest.fixture(scope="module")
def expected(pixels, tmp_path_factory):
    """Bytes per set of options, from NumPy on the synchronous scheduler."""
    folder = tmp_path_factory.mktemp("expected")
    files = {}
    for name, options in OPTIONS.items():
        path = folder / f"{name}.tif"
        write(raster(pixels), path, blocksize=256, nodata=0, **options)
        difference = gdal_levels(path)[0].astype(int) - pixels
        assert np.abs(difference).max() <= options.get("max_z_error", 0)
        files[name] = path.read_bytes()
    return files


def _written(pixels, chunks, path, **options):
    lazy = raster(_source(pixels, chunks))
    lazycog.to_cog(lazy, path, blocksize=256, nodata=0, progress=False, **options)
    return path.read_bytes()


def _source(pixels, chunks):
    """Give a lazy source that makes its chunks in the workers, as a store would."""
    where = da.zeros(pixels.shape, chunks=chunks, dtype="uint8")
    return where.map_blocks(_part, dtype=pixels.dtype, meta=pixels[:0, :0, :0])


def _part(_, block_info):
    """Cut a chunk out of the raster, made anew from its seed."""
    window = tuple(slice(*edges) for edges in block_info[0]["array-location"])
    return _pixels()[window]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_chunking_and_threads_do_not_show(tmp_path, pixels, expected, chunks, threads):
    """Tiles, statistics and header depend on neither."""
    with dask.config.set(scheduler="threads", num_workers=threads):
        found = _written(pixels, chunks, tmp_path / "cog.tif")

    assert found == expected["default"]


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_keep_the_promise(tmp_path, pixels, expected, name, scheduler):
    """Every interleave and codec, from chunks that fit nothing."""
    with dask.config.set(scheduler=scheduler):
        found = _written(pixels, (3, 333, 777), tmp_path / "cog.tif", **OPTIONS[name])

    assert found == expected[name]


@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_processes_do_not_show(tmp_path, pixels, expected, chunks):
    """Encoded tiles travel between processes."""
    with dask.config.set(scheduler="processes", num_workers=2):
        found = _written(pixels, chunks, tmp_path / "cog.tif")

    assert found == expected["default"]


@pytest.mark.distributed
@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_a_cluster_does_not_show(tmp_path, pixels, expected, chunks, cluster):
    """Two worker processes write into one file."""
    with cluster.as_current():
        found = _written(pixels, chunks, tmp_path / "cog.tif")

    assert found == expected["default"]


@pytest.mark.parametrize("seed", range(4))
def test_task_order_does_not_show(tmp_path, pixels, expected, seed):
    """Tasks run one by one in a random order that their dependencies allow."""
    lazy = raster(da.from_array(pixels, chunks=(2, 300, 500)))
    path = tmp_path / "cog.tif"
    write_later = lazycog.to_cog(lazy, path, blocksize=256, nodata=0, compute=False)

    _run_shuffled(write_later, random.Random(seed))

    assert path.read_bytes() == expected["default"]


def _run_shuffled(delayed, generator):
    """Run a graph in a random topological order, each task twice where it is pure."""
    from dask._task_spec import convert_legacy_graph

    tasks = convert_legacy_graph(dict(delayed.__dask_graph__()))
    waiting = {key: set(task.dependencies) for key, task in tasks.items()}
    results = {}
    while waiting:
        ready = [key for key, needs in waiting.items() if needs <= results.keys()]
        key = generator.choice(sorted(ready, key=str))
        needed = {each: results[each] for each in tasks[key].dependencies}
        results[key] = tasks[key](needed)
        if "cog-place" in str(key):
            tasks[key](needed)  # a task that is run again writes the same
        del waiting[key]
    return results


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_size_and_chunking_round_trips(tmp_path, data):
    """Full resolution equals the input, and bytes equal those of one chunk."""
    count = data.draw(st.integers(1, 6), "count")
    height = data.draw(st.integers(1, 300), "height")
    width = data.draw(st.integers(1, 300), "width")
    chunks = (
        data.draw(st.integers(1, count), "band chunk"),
        data.draw(st.integers(max(1, height // 7), height), "row chunk"),
        data.draw(st.integers(max(1, width // 7), width), "col chunk"),
    )
    options = {
        "blocksize": data.draw(st.sampled_from([16, 32, 64]), "blocksize"),
        "interleave": data.draw(st.sampled_from(["auto", "pixel", "band", "tile"])),
        "compress": data.draw(st.sampled_from(LOSSLESS)),
        "overview_resampling": data.draw(st.sampled_from(KERNELS)),
        "nodata": data.draw(st.sampled_from([None, 0])),
        "sparse": data.draw(st.booleans(), "sparse"),
        "deduplicate": data.draw(st.booleans(), "deduplicate"),
        "overview_compress": data.draw(st.sampled_from([None, "zstd"])),
    }
    if options["nodata"] == 0:
        options["mask"] = data.draw(st.booleans(), "mask")
    pixels = _pixels((count, height, width), seed=height * width)
    # something to leave out and to share
    pixels[:, : height // 2, : width // 2] = 0
    write(raster(pixels), tmp_path / "whole.tif", **options)
    write(raster(da.from_array(pixels, chunks=chunks)), tmp_path / "cut.tif", **options)

    report = lazycog.validate(tmp_path / "cut.tif")

    assert report.ok, report.errors
    assert (tmp_path / "cut.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    np.testing.assert_array_equal(gdal_levels(tmp_path / "cut.tif")[0], pixels)


@pytest.mark.large
@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS.keys())
def test_every_local_scheduler_and_width(
    tmp_path, pixels, expected, chunks, scheduler, workers, statistics
):
    """All chunkings on all schedulers of this process, with 1, 2 and 4 workers."""
    name = "default" if statistics else "without statistics"
    with dask.config.set(scheduler=scheduler, num_workers=workers):
        found = _written(pixels, chunks, tmp_path / "cog.tif", **OPTIONS[name])

    assert found == expected[name]


@pytest.mark.large
@pytest.mark.distributed
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_cluster_width(tmp_path, pixels, expected, threads):
    """All chunkings on two worker processes of 1, 2 and 4 threads."""
    from distributed import Client

    with Client(
        n_workers=2,
        threads_per_worker=threads,
        dashboard_address=":0",
        set_as_default=False,
    ) as client:
        for chunks in CHUNKINGS.values():
            for name in ("default", "without statistics"):
                with client.as_current():
                    found = _written(
                        pixels, chunks, tmp_path / "cog.tif", **OPTIONS[name]
                    )
                assert found == expected[name]
