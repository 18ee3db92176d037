"""A write computes every chunk of its source exactly once."""

from __future__ import annotations

import sys
import uuid
from collections import Counter

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph

import lazycog
from oracles import gdal_levels, raster

cloudpickle.register_pickle_by_value(sys.modules[__name__])

OPTIONS = {"blocksize": 128, "progress": False}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", 256)
    monkeypatch.setattr("lazycog._plan.GROUP_CHUNK_SIZE", 256)


class Source:
    """A lazy array that leaves one empty file per chunk and computation.

    Files are seen across threads and processes alike.
    """

    def __init__(self, folder, shape, chunks):
        self.folder = folder
        self.shape = shape
        self.chunks = da.core.normalize_chunks(chunks, shape)

    def block(self, block_info=None):
        """Compute a chunk and tell so."""
        place = "-".join(map(str, block_info[None]["chunk-location"]))
        (self.folder / f"{place}--{uuid.uuid4().hex}").touch()
        spans = block_info[None]["array-location"]
        axes = np.ix_(*(np.arange(*span) for span in spans))
        return sum(axis * (7 - 2 * n) for n, axis in enumerate(axes)).astype("uint16")

    @property
    def lazy(self):
        """The Dask array."""
        meta = np.empty((0,) * len(self.shape), "uint16")
        return da.map_blocks(self.block, chunks=self.chunks, dtype="uint16", meta=meta)

    def assert_computed_once(self):
        """Compare the files with the chunks."""
        counts = Counter(each.name.split("--")[0] for each in self.folder.iterdir())
        expected = {
            "-".join(map(str, index)): 1 for index in np.ndindex(*map(len, self.chunks))
        }
        assert counts == expected


@pytest.fixture
def source(tmp_path):
    """Give a maker of counting sources."""

    def make(shape, chunks):
        folder = tmp_path / f"source-{uuid.uuid4().hex}"
        folder.mkdir()
        return Source(folder, shape, chunks)

    return make


SIZES = {"even": (2, 1024, 1280), "odd": (2, 1031, 1277)}
CHUNKINGS = {
    "plan-sized": (2, 256, 256),
    "tile-sized": (2, 128, 128),
    "1000x700": (2, 1000, 700),
    "one band": (1, 300, 300),
    "whole scene": (-1, -1, -1),
    "rows": (2, 1, -1),
    "uneven": (2, (1, 500, 530), (3, 274, 1000)),
}


def _fitting(chunks, shape):
    """Stretch the last of uneven chunks to the size."""
    return tuple(
        (*each[:-1], size - sum(each[:-1])) if isinstance(each, tuple) else each
        for each, size in zip(chunks, shape, strict=True)
    )


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHUNKINGS)
def test_any_chunking_is_read_once(tmp_path, source, name, size, scheduler):
    """Odd sizes need pixels of neighbouring chunks, which are not computed again."""
    made = source(SIZES[size], _fitting(CHUNKINGS[name], SIZES[size]))

    with dask.config.set(scheduler=scheduler, num_workers=2):
        lazycog.to_cog(raster(made.lazy), tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()


@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
@pytest.mark.parametrize("resampling", ["nearest", "average", "mode", "rms"])
def test_any_layout_is_read_once(tmp_path, source, interleave, resampling):
    """Neither bands nor kernels ask for a second look."""
    made = source((5, 515, 517), (2, 200, 300))
    options = {"interleave": interleave, "overview_resampling": resampling, **OPTIONS}

    lazycog.to_cog(raster(made.lazy), tmp_path / "cog.tif", **options)

    made.assert_computed_once()


@pytest.mark.parametrize("size", SIZES)
def test_processes_read_once(tmp_path, source, size):
    """Each chunk in one of the processes."""
    made = source(SIZES[size], (2, 500, 700))

    with dask.config.set(scheduler="processes", num_workers=2):
        lazycog.to_cog(raster(made.lazy), tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()


@pytest.mark.distributed
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["plan-sized", "1000x700", "one band", "whole scene"])
def test_a_cluster_reads_once(tmp_path, source, cluster, name, size):
    """Neighbours are sent from worker to worker instead."""
    made = source(SIZES[size], CHUNKINGS[name])

    with cluster.as_current():
        lazycog.to_cog(raster(made.lazy), tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()


@pytest.mark.distributed
@pytest.mark.parametrize("name", ["plan-sized", "1000x700"])
def test_a_persisted_source_is_not_read_again(tmp_path, source, cluster, name):
    """Its chunks are on the workers already, as is what is computed from them."""
    made = source(SIZES["odd"], CHUNKINGS[name])
    scene = raster(made.lazy)
    paths = [tmp_path / name for name in ("a.tif", "b.tif")]

    with cluster.as_current():
        kept = scene.persist()
        lazycog.to_cog(kept, paths[0], **OPTIONS)
        later = lazycog.to_cog(kept // 2, paths[1], compute=False, **OPTIONS)
        del kept
        later.compute()

    made.assert_computed_once()
    whole, half = (gdal_levels(path)[0] for path in paths)
    np.testing.assert_array_equal(whole, scene.values)
    np.testing.assert_array_equal(half, whole // 2)


@pytest.mark.distributed
def test_pixels_that_a_future_holds(tmp_path, cluster):
    """Scattered, or computed by the client, and put into a Dask array."""
    pixels = np.arange(300 * 400, dtype="uint16").reshape(300, 400)

    with cluster.as_current():
        future = cluster.submit(np.flipud, cluster.scatter(pixels))
        lazy = da.from_delayed(dask.delayed(future), pixels.shape, pixels.dtype)
        lazycog.to_cog(raster(lazy), tmp_path / "a.tif", **OPTIONS)

    np.testing.assert_array_equal(gdal_levels(tmp_path / "a.tif")[0][0], pixels[::-1])


@pytest.mark.distributed
def test_a_rechunk_between_workers(tmp_path, source, cluster):
    """Dask's scheduler knows its tasks by their keys, which must stay."""
    made = source(SIZES["odd"], (1, -1, 300))
    path = tmp_path / "cog.tif"

    with cluster.as_current(), dask.config.set({"array.rechunk.method": "p2p"}):
        again = made.lazy.rechunk((2, 500, 500)) // 2
        lazycog.to_cog(raster(again), path, **OPTIONS)

    made.assert_computed_once()
    np.testing.assert_array_equal(gdal_levels(path)[0], made.lazy.compute() // 2)


@pytest.mark.distributed
@pytest.mark.parametrize("kind", ["alone", "in a task"])
def test_a_lazy_write_holds_its_futures(tmp_path, cluster, kind):
    """Whoever made them may let go of them, also where a key is not the future's."""
    pixels = np.arange(300 * 400, dtype="uint16").reshape(300, 400)

    with cluster.as_current():
        future = cluster.submit(np.flipud, pixels, pure=False)
        task = future if kind == "alone" else (np.flipud, future)
        graph = HighLevelGraph.from_collections(kind, {(kind, 0, 0): task}, ())
        lazy = da.Array(graph, kind, ((300,), (400,)), "uint16")
        later = lazycog.to_cog(
            raster(lazy), tmp_path / "a.tif", compute=False, **OPTIONS
        )
        del future, task, graph, lazy
        later.compute()

    expected = pixels[::-1] if kind == "alone" else pixels
    np.testing.assert_array_equal(gdal_levels(tmp_path / "a.tif")[0][0], expected)


@pytest.mark.distributed
@pytest.mark.parametrize("chunks", ["plan-sized", "1000x700"])
def test_a_write_that_failed_is_no_matter_to_the_next(
    tmp_path, source, cluster, chunks
):
    """Of the same array, while the failed one is still held by the cluster."""
    made = source(SIZES["odd"], CHUNKINGS[chunks])
    scene = raster(made.lazy // 2)
    there = tmp_path / "there.tif"

    with cluster.as_current():
        later = lazycog.to_cog(scene, there, compute=False, overwrite=False, **OPTIONS)
        there.touch()
        failed = cluster.compute(later)
        with pytest.raises(lazycog.DestinationExistsError):
            failed.result()
        lazycog.to_cog(scene, tmp_path / "cog.tif", **OPTIONS)
        lazycog.to_cogs(
            scene.to_dataset("band"), tmp_path / "{variable}.tif", **OPTIONS
        )

    np.testing.assert_array_equal(gdal_levels(tmp_path / "cog.tif")[0], scene.values)


def _average(base):
    return (base + base[:, ::-1] // 2 + base.mean(axis=0)).astype("uint16")


def _index(base):
    return (base[1] - base[0]) / (base[1] + base[0] + 1.0)


DERIVED = {"all bands": _average, "an index of two bands": _index}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("name", DERIVED)
def test_a_base_that_several_layers_share(tmp_path, source, name, scheduler):
    """Arithmetic over one base computes the base once."""
    made = source((2, 515, 517), (1, 200, 300))
    derived = raster(DERIVED[name](made.lazy))

    with dask.config.set(scheduler=scheduler, num_workers=2):
        lazycog.to_cog(derived, tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()


def test_a_dataset_of_variables_from_one_base(tmp_path, source):
    """Two bands of one file from the same chunks."""
    made = source((515, 517), (200, 300))
    base = raster(made.lazy)
    dataset = xr.Dataset({"low": base // 2, "high": base + np.uint16(7)})

    lazycog.to_cog(dataset, tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()
    low, high = gdal_levels(tmp_path / "cog.tif")[0]
    np.testing.assert_array_equal(low, (high - 7) // 2)


def test_stacked_scenes(tmp_path, source):
    """A median over time looks at each scene once."""
    made = source((4, 515, 517), (1, 200, 300))
    scenes = raster(made.lazy.rechunk({0: -1}))

    lazycog.to_cog(scenes.median("band"), tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()


def test_a_lazy_write_reads_nothing_until_it_is_computed(tmp_path, source):
    """And then once."""
    made = source((515, 517), (200, 300))

    later = lazycog.to_cog(
        raster(made.lazy), tmp_path / "cog.tif", compute=False, **OPTIONS
    )
    assert not list(made.folder.iterdir())
    later.compute()

    made.assert_computed_once()


def test_two_lazy_writes_of_one_source(tmp_path, source):
    """Computed together, they share what they read."""
    made = source(SIZES["even"], CHUNKINGS["plan-sized"])
    scene = raster(made.lazy)

    dask.compute(
        *(
            lazycog.to_cog(scene, tmp_path / name, compute=False, **OPTIONS)
            for name in ("a.tif", "b.tif")
        )
    )

    made.assert_computed_once()


def test_what_one_chunk_needs_is_read_in_its_task(tmp_path, source):
    """No thread reads a block and leaves it in memory for something more urgent."""
    made = source(SIZES["even"], CHUNKINGS["tile-sized"])
    scene, keys = raster(made.lazy), []

    with Callback(pretask=lambda key, *_: keys.append(key)):
        lazycog.to_cog(scene, tmp_path / "cog.tif", **OPTIONS)

    made.assert_computed_once()
    assert not [key for key in keys if key[0] == scene.data.name]


def test_a_plan_reads_nothing(source):
    """It looks at shapes only."""
    made = source((515, 517), (200, 300))

    str(lazycog.plan(raster(made.lazy)))

    assert not list(made.folder.iterdir())


def test_a_numpy_raster_is_not_copied_into_the_graph_per_task(tmp_path):
    """What is in memory already is cut, not hashed or embedded again and again."""
    pixels = np.zeros((1031, 1277), "uint16")

    later = lazycog.to_cog(raster(pixels), tmp_path / "a.tif", compute=False, **OPTIONS)

    arrays = [
        each for each in dict(later.dask).values() if isinstance(each, np.ndarray)
    ]
    assert sum(each.nbytes for each in arrays) <= pixels.nbytes


def test_the_name_of_a_dask_array_is_no_description(tmp_path, source):
    """xarray takes it over, a hash of how the array is made: other in every session."""
    paths = [tmp_path / name for name in ("a.tif", "b.tif")]
    for path in paths:
        array = xr.DataArray(source((64, 64), -1).lazy, dims=("y", "x"))
        assert array.name
        lazycog.to_cog(array, path, **OPTIONS)

    assert paths[0].read_bytes() == paths[1].read_bytes()
