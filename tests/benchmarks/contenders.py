"""The tools: each writes one scene as a COG, in a process of its own.

All make tiles of 512 x 512 pixels and averaged overviews, with the same codec, level
and predictor; without a codec each takes its own default.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCKSIZE = 512


@dataclass(frozen=True)
class Job:
    """What one process does."""

    contender: str
    zarr: str
    tif: str
    overviews: str
    dst: str
    codec: str | None
    """None for the tool's own codec, level and predictor."""
    level: int | None
    predictor: int
    threads: int

    @property
    def text(self) -> str:
        """As an argument of this module."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Contender:
    """A tool, and how to call it."""

    name: str
    write: Callable[[Job], None]
    needs: tuple[str, ...]
    """Modules without which it is absent."""
    about: str

    @property
    def missing(self) -> str | None:
        """Name the first module that is not installed, None when all are."""
        return next((each for each in self.needs if not _is_installed(each)), None)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its package
        return False


# --- lazycog --------------------------------------------------------------------------


def _lazycog(job: Job) -> None:
    import lazycog
    from benchmarks.scenes import open_scene

    options: dict[str, Any] = {"blocksize": BLOCKSIZE, "progress": False}
    if job.codec:
        options |= {"compress": job.codec, "level": job.level}
        options["predictor"] = job.predictor
    raster = open_scene(job.zarr)
    lazycog.to_cog(raster, job.dst, overview_resampling="average", **options)


def lazycog_threads(job: Job) -> None:
    """On the threads of one process."""
    with _threads(job):
        _lazycog(job)


def lazycog_cluster(job: Job) -> None:
    """On worker processes of one thread each."""
    with _cluster(job):
        _lazycog(job)


def floor(job: Job) -> None:
    """Read every pixel once and encode every tile; write nothing."""
    from benchmarks import bare

    bare.encode_all(job)


# --- GDAL -----------------------------------------------------------------------------


def _gdal_options(job: Job) -> dict[str, Any]:
    options: dict[str, Any] = {
        "BLOCKSIZE": BLOCKSIZE,
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
    }
    if job.codec:
        options |= {"COMPRESS": job.codec.upper(), "PREDICTOR": job.predictor}
        if job.level is not None:
            options["LEVEL"] = job.level
    return options


def gdal(job: Job) -> None:
    """Copy the TIFF with GDAL's COG driver."""
    import rasterio.shutil

    rasterio.shutil.copy(job.tif, job.dst, driver="COG", **_gdal_options(job))


def rio_cogeo(job: Job) -> None:
    """Translate the TIFF with rio-cogeo, without its copy in memory."""
    from rio_cogeo.cogeo import cog_translate
    from rio_cogeo.profiles import cog_profiles

    profile = dict(cog_profiles.get(job.codec or "deflate"))
    profile |= {"blockxsize": BLOCKSIZE, "blockysize": BLOCKSIZE}
    profile |= {"NUM_THREADS": "ALL_CPUS", "BIGTIFF": "IF_SAFER"}
    if job.codec:
        profile["PREDICTOR"] = job.predictor
        if job.level is not None:
            profile["ZSTD_LEVEL" if job.codec == "zstd" else "ZLEVEL"] = job.level
    cog_translate(
        job.tif,
        job.dst,
        profile,
        overview_resampling="average",
        in_memory=False,
        config={"GDAL_NUM_THREADS": "ALL_CPUS"},
        quiet=True,
    )


def rioxarray_loaded(job: Job) -> None:
    """Load the whole raster, and let GDAL's COG driver write it."""
    from benchmarks.scenes import open_scene

    with _threads(job):
        raster = open_scene(job.zarr).load()
    raster.rio.to_raster(job.dst, driver="COG", **_gdal_options(job))


# --- other writers of Dask arrays -----------------------------------------------------


def _odc_geo(job: Job) -> None:
    import odc.geo.xr
    from odc.geo.cog import save_cog_with_dask

    from benchmarks.scenes import CRS, open_scene

    options: dict[str, Any] = {"blocksize": BLOCKSIZE, "overview_resampling": "average"}
    if job.codec:
        options |= {"compression": job.codec, "level": job.level}
        options["predictor"] = job.predictor
    raster = odc.geo.xr.assign_crs(open_scene(job.zarr), CRS)
    if raster.sizes["band"] == 1:
        raster = raster.isel(band=0)
    else:  # else each band gets tiles of its own, which are more and larger together
        raster = raster.transpose("y", "x", "band")
    save_cog_with_dask(raster, job.dst, **options).compute()


def odc_geo_threads(job: Job) -> None:
    """On the threads of one process."""
    with _threads(job):
        _odc_geo(job)


def odc_geo_cluster(job: Job) -> None:
    """On worker processes of one thread each."""
    with _cluster(job):
        _odc_geo(job)


def xarray_spatial(job: Job) -> None:
    """Write with xarray-spatial, which loads the whole raster for a COG."""
    from xrspatial.geotiff import to_geotiff

    from benchmarks.scenes import open_scene

    options: dict[str, Any] = {"tile_size": BLOCKSIZE, "overview_resampling": "mean"}
    if job.codec:
        options |= {"compression": job.codec, "compression_level": job.level}
        options["predictor"] = job.predictor
    with _threads(job):
        to_geotiff(open_scene(job.zarr), job.dst, cog=True, **options)


@contextmanager
def _threads(job: Job) -> Iterator[None]:
    import dask

    with dask.config.set(scheduler="threads", num_workers=job.threads):
        yield


@contextmanager
def _cluster(job: Job) -> Iterator[None]:
    import logging

    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        LocalCluster(
            n_workers=job.threads,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,
        Client(cluster),
    ):
        yield


BASELINE = "lazycog"
FLOOR = "floor"
CONTENDERS = {
    each.name: each
    for each in (
        Contender(BASELINE, lazycog_threads, ("zarr",), "threads, from Zarr"),
        Contender(
            "lazycog cluster",
            lazycog_cluster,
            ("zarr", "distributed"),
            "LocalCluster of one process per thread, from Zarr",
        ),
        Contender("GDAL COG", gdal, (), "all threads, from an uncompressed tiled TIFF"),
        Contender(
            "rio-cogeo",
            rio_cogeo,
            ("rio_cogeo",),
            "all threads, from an uncompressed tiled TIFF, not in memory",
        ),
        Contender(
            "rioxarray",
            rioxarray_loaded,
            ("zarr",),
            "from Zarr; holds the whole raster in memory, GDAL's copy of it, too",
        ),
        Contender(
            "odc-geo",
            odc_geo_threads,
            ("odc.geo", "zarr"),
            "threads, from Zarr; bands last, so that a tile holds all of them",
        ),
        Contender(
            "odc-geo cluster",
            odc_geo_cluster,
            ("odc.geo", "zarr", "distributed"),
            "LocalCluster of one process per thread, from Zarr; bands last",
        ),
        Contender(
            "xarray-spatial",
            xarray_spatial,
            ("xrspatial.geotiff", "zarr"),
            "from Zarr; holds the whole raster in memory",
        ),
        Contender(
            FLOOR,
            floor,
            ("zarr",),
            "reads Zarr and encodes the same tiles on bare threads; overviews are "
            "given and nothing is written",
        ),
    )
}


def main() -> None:
    """Do the job of the first argument."""
    job = Job(**json.loads(sys.argv[1]))
    warnings.simplefilter("ignore")  # theirs, about versions of each other
    CONTENDERS[job.contender].write(job)


if __name__ == "__main__":
    main()
