"""Web-optimised output: placed as GDAL's COG driver does, read once, without seams."""

from __future__ import annotations

import subprocess
import sys
import weakref
from threading import Lock

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
from affine import Affine

import oracles
from lazycog import CogOptions, InputError, OptionError, to_cog, validate
from lazycog._views import human_bytes

GOOGLE = "GoogleMapsCompatible"
UTM = {"crs": "EPSG:32613", "transform": Affine(30, 0, 500000, 0, -30, 4000000)}


def smooth(height, width):
    """Give pixels without sharp edges: kernels of other width agree on them."""
    y, x = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(x / 37 + y / 61) + 40 * np.cos(y / 29)
    return waves.clip(1, 254).astype("uint8")


def grid(crs, x, y, left, top):
    return {"crs": crs, "transform": Affine(x, 0, left, 0, y, top)}


PLACES = {
    "utm": (UTM, (700, 900)),
    "coarser than its zoom level": (
        grid("EPSG:32613", 27, -27, 500000, 4000000),
        (700, 900),
    ),
    "tiny": (grid("EPSG:32613", 10, -10, 500000, 4000000), (5, 7)),
    "degrees": (grid("EPSG:4326", 0.01, -0.01, 5, 52), (500, 800)),
    "rows from south to north": (grid("EPSG:4326", 0.01, 0.01, 5, 47), (500, 800)),
    "the world": (grid("EPSG:4326", 0.25, -0.25, -180, 90), (720, 1440)),
    "the world from 0 to 360": (grid("EPSG:4326", 0.25, -0.25, 0, 90), (720, 1440)),
    "across the antimeridian": (
        grid("EPSG:32660", 500, -500, 700000, 7000000),
        (600, 800),
    ),
    "around the pole": (
        grid("EPSG:3413", 12500, -12500, -3000000, 3000000),
        (480, 480),
    ),
    "up to the pole": (grid("EPSG:4326", 0.1, -0.1, 10, 90), (300, 400)),
    "web mercator": (grid("EPSG:3857", 100, -100, -1000000, 5000000), (500, 700)),
}


def facts(path):
    """Say where a file is, and on which grid."""
    with rasterio.open(path) as dataset:
        tags = dataset.tags(ns="TILING_SCHEME")
        return {
            "size": dataset.shape,
            "transform": dataset.transform,
            "blocks": dataset.block_shapes,
            "overviews": dataset.overviews(1),
            "crs": dataset.crs,
            # rasterio gives options to GDAL in capitals
            "tags": {key: value.upper() for key, value in tags.items()},
        }


@pytest.mark.parametrize(
    ("place", "kernel"),
    [
        *((place, "bilinear") for place in PLACES),
        ("utm", "nearest"),
        ("the world from 0 to 360", "nearest"),
        ("around the pole", "nearest"),
        ("degrees", "cubic"),
    ],
)
def test_place_and_pixels_are_gdals(tmp_path, place, kernel):
    """Pixels may differ where GDAL's own approximation falls the other way."""
    where, shape = PLACES[place]
    pixels = smooth(*shape)
    theirs = oracles.gdal_cog(
        tmp_path / "gdal.tif",
        pixels,
        **where,
        TILING_SCHEME=GOOGLE,
        ADD_ALPHA="NO",
        WARP_RESAMPLING=kernel.upper(),
    )
    ours = tmp_path / "ours.tif"

    oracles.write(
        oracles.raster(pixels, **where),
        ours,
        tiling_scheme=GOOGLE,
        warp_resampling=kernel,
    )

    assert facts(ours) == facts(theirs)
    with rasterio.open(ours) as own, rasterio.open(theirs) as other:
        apart = np.abs(own.read(1).astype(int) - other.read(1))
        # what GDAL leaves 0 is masked here
        assert ((own.read_masks(1) > 0) != (other.read(1) > 0)).mean() < 5e-4
    assert (apart > 2).mean() < 5e-4


@pytest.mark.parametrize(
    "options",
    [
        {"aligned_levels": 3},
        {"blocksize": 512},
        {"blocksize": 128},
        {"zoom_level": 10, "aligned_levels": 2},
        {"overview_count": 1},
        {"tiling_scheme": "InspireCRS84Quad", "aligned_levels": 4},
    ],
    ids=str,
)
def test_options_place_it_as_gdal_does(tmp_path, options):
    options = {"tiling_scheme": GOOGLE, **options}
    pixels = smooth(300, 400)
    creation = {name.upper(): str(value) for name, value in options.items()}
    theirs = oracles.gdal_cog(
        tmp_path / "gdal.tif", pixels, **UTM, ADD_ALPHA="NO", **creation
    )
    ours = tmp_path / "ours.tif"

    oracles.write(oracles.raster(pixels, **UTM), ours, **options)

    assert facts(ours) == facts(theirs)
    assert validate(ours).ok


@pytest.mark.parametrize(
    ("scheme", "crs"),
    [("WebMercatorQuad", 3857), ("WGS1984Quad", 4326), ("UTM31WGS84Quad", 32631)],
)
def test_schemes_of_morecantile(tmp_path, scheme, crs):
    """The corner of the file is the corner of one of the scheme's own tiles."""
    import morecantile

    where = grid("EPSG:32631", 30, -30, 400000, 5000000)
    path = tmp_path / "cog.tif"

    oracles.write(oracles.raster(smooth(300, 400), **where), path, tiling_scheme=scheme)

    tms = morecantile.tms.get(scheme)
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == crs
        assert dataset.tags(ns="TILING_SCHEME")["NAME"] == scheme
        number = int(dataset.tags(ns="TILING_SCHEME")["ZOOM_LEVEL"])
        zoom = int(
            tms.tileMatrices[number].id
        )  # some begin at 1, as GDAL counts from 0
        x, y = dataset.transform.c, dataset.transform.f
        side = dataset.transform.a * 256
        assert dataset.block_shapes == [(256, 256)]
        corner = tms.xy_bounds(morecantile.Tile(0, 0, zoom))
        col, row = round((x - corner.left) / side), round((corner.top - y) / side)
        bounds = tms.xy_bounds(morecantile.Tile(col, row, zoom))
        assert (bounds.left, bounds.top) == pytest.approx((x, y))
        assert bounds.right - bounds.left == pytest.approx(side)


@pytest.mark.parametrize("kernel", ["nearest", "cubic"])
def test_same_bytes_for_any_chunks_and_scheduler(tmp_path, kernel):
    """No seam where chunks meet: units of the target are made alike."""
    import dask

    array = oracles.raster(smooth(900, 1100)[np.newaxis].repeat(2, 0), **UTM)
    options = {"tiling_scheme": GOOGLE, "warp_resampling": kernel, "progress": False}
    found = set()

    for chunks, scheduler in (
        ({}, "synchronous"),
        ({"y": 100, "x": 1100}, "threads"),
        ({"band": 1, "y": 333, "x": 257}, "threads"),
    ):
        path = tmp_path / "cog.tif"
        with dask.config.set(scheduler=scheduler):
            to_cog(array.chunk(chunks), path, **options)
        found.add(path.read_bytes())

    assert len(found) == 1


class Counting:
    """A source that counts how often each chunk is read, and how many are ahead."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.reads = {}
        self._lock = Lock()

    def lazy(self, chunks):
        import dask.array

        def read(block_info=None):
            where = tuple(slice(*each) for each in block_info[None]["array-location"])
            key = tuple((each.start, each.stop) for each in where)
            with self._lock:
                self.reads[key] = self.reads.get(key, 0) + 1
            return self.pixels[where]

        return dask.array.map_blocks(
            read, chunks=chunks, dtype=self.pixels.dtype, meta=np.empty((0, 0), "uint8")
        )


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_every_chunk_is_read_once(tmp_path, scheduler):
    import dask

    source = Counting(smooth(900, 1100))
    lazy = source.lazy(((200, 200, 200, 200, 100), (256, 256, 256, 256, 76)))
    array = oracles.raster(lazy, **UTM)
    with dask.config.set(scheduler=scheduler):
        to_cog(array, tmp_path / "cog.tif", tiling_scheme=GOOGLE, progress=False)

    assert len(source.reads) == 25
    assert set(source.reads.values()) == {1}


def test_pixels_beyond_the_raster_are_its_nodata(tmp_path):
    path = tmp_path / "cog.tif"

    oracles.write(
        oracles.raster(smooth(300, 400), **UTM, nodata=0), path, tiling_scheme=GOOGLE
    )

    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0
        assert dataset.read(1)[0, 0] == 0
        assert 0.1 < (dataset.read_masks(1) > 0).mean() < 0.9


def test_pixels_beyond_floats_are_nan(tmp_path):
    path = tmp_path / "cog.tif"
    pixels = smooth(300, 400).astype("float32")

    oracles.write(oracles.raster(pixels, **UTM), path, tiling_scheme=GOOGLE)

    with rasterio.open(path) as dataset:
        found = dataset.read(1)
    assert np.isnan(found[0, 0])
    assert np.nanmin(found) >= 1


def test_invalid_pixels_of_a_mask_are_not_mixed_in(tmp_path):
    """Half of the raster is masked garbage; the other half keeps its one value."""
    pixels = np.full((400, 400), 100, "uint8")
    pixels[:, 200:] = 255
    valid = pixels == 100
    path = tmp_path / "cog.tif"

    oracles.write(
        oracles.raster(pixels, **UTM),
        path,
        tiling_scheme=GOOGLE,
        warp_resampling="cubic",
        mask=valid,
    )

    with rasterio.open(path) as dataset:
        inside = dataset.read_masks(1) > 0
        assert 0.05 < inside.mean() < 0.5
        assert set(np.unique(dataset.read(1)[inside])) == {100}


def test_transparent_pixels_are_not_mixed_in(tmp_path):
    pixels = np.full((4, 400, 400), 100, "uint8")
    pixels[3] = 255
    pixels[:, :, 200:] = 0
    path = tmp_path / "cog.tif"

    oracles.write(oracles.raster(pixels, **UTM), path, tiling_scheme=GOOGLE)

    with rasterio.open(path) as dataset:
        red, alpha = dataset.read(1), dataset.read(4)
        assert alpha[0, 0] == 0
        assert set(np.unique(red[alpha == 255])) == {100}
        assert dataset.count == 4


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int64", "float16", "float64", "complex64"],
)
def test_types_keep_their_pixels(tmp_path, dtype):
    """A constant stays what it is under the kernel of the type's own choice."""
    pixels = np.ones((300, 400), dtype)
    path = tmp_path / "cog.tif"
    options = {"nodata": None} if dtype == "complex64" else {}

    oracles.write(oracles.raster(pixels, **UTM), path, tiling_scheme=GOOGLE, **options)

    (full, *_) = oracles.tifffile_levels(path)
    middle = full[0, full.shape[1] // 2, full.shape[2] // 2]
    assert middle == pytest.approx(1)
    assert full.dtype == ("uint8" if dtype == "bool" else dtype)


@pytest.mark.parametrize(
    ("options", "both"),
    [
        ({"zoom_level": 3}, "zoom_level=3 .*tiling_scheme"),
        ({"aligned_levels": 2}, "aligned_levels=2 .*tiling_scheme"),
        ({"warp_resampling": "cubic"}, "warp_resampling='cubic' .*tiling_scheme"),
        ({"tiling_scheme": GOOGLE, "zoom_level": 31}, "zoom_level=31 .*0 to 30"),
        ({"tiling_scheme": GOOGLE, "aligned_levels": 11}, "aligned_levels=11 .*10"),
        ({"tiling_scheme": GOOGLE, "blocksize": 384}, "blocksize=384 .*256 pixels"),
        ({"tiling_scheme": GOOGLE, "rpcs": {}}, "rpcs= .*tiling_scheme"),
        ({"tiling_scheme": "GoogleMapCompatible"}, "did you mean 'GoogleMapsCompat"),
        ({"tiling_scheme": 3857}, "tiling_scheme=3857: give a name"),
        ({"tiling_scheme": "CanadianNAD83_LCC"}, "do not double"),
        ({"tiling_scheme": "GNOSISGlobalGrid"}, "do not share one origin"),
        ({"warp_resampling": "gauss", "tiling_scheme": GOOGLE}, "warp_resampling"),
    ],
    ids=str,
)
def test_a_wrong_call_names_what_clashes(options, both):
    with pytest.raises(OptionError, match=both):
        CogOptions.from_mapping(options)


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        ({"crs": None}, "write_crs"),
        ({"transform": None}, "write_transform"),
        ({"transform": Affine(30, 5, 500000, 5, -30, 4000000)}, "rotated"),
        (grid("EPSG:4326", 0.01, -0.01, 5, 89), "beyond latitude 85.05"),
    ],
    ids=["no CRS", "no transform", "rotated", "beyond the scheme"],
)
def test_a_raster_without_place_is_refused(tmp_path, where, remedy):
    array = oracles.raster(smooth(50, 60), **{**UTM, **where})

    with pytest.raises(InputError, match=remedy):
        oracles.write(array, tmp_path / "cog.tif", tiling_scheme=GOOGLE)
    assert not list(tmp_path.iterdir())


def test_gdals_creation_options_mean_the_same(tmp_path):
    array = oracles.raster(smooth(300, 400), **UTM)
    profile = {
        "TILING_SCHEME": GOOGLE,
        "ZOOM_LEVEL": "11",
        "ALIGNED_LEVELS": "2",
        "WARP_RESAMPLING": "BILINEAR",
    }
    theirs, ours = tmp_path / "profile.tif", tmp_path / "options.tif"

    oracles.write(array, theirs, profile=profile)
    oracles.write(
        array,
        ours,
        tiling_scheme=GOOGLE,
        zoom_level=11,
        aligned_levels=2,
        warp_resampling="bilinear",
    )

    assert theirs.read_bytes() == ours.read_bytes()


SCRIPT = """
import sys
import dask, dask.array as da, numpy as np, rioxarray, xarray as xr
from affine import Affine
import lazycog

def make(block_info=None):
    where = block_info[None]["array-location"]
    shape = tuple(stop - start for start, stop in where)
    noise = np.random.default_rng(sum(start for start, _ in where))
    return noise.integers(0, 64, shape).astype("uint16")

chunks = ((4,), (1024,) * int(sys.argv[1]), (1024,) * 8)
pixels = da.map_blocks(make, dtype="uint16", chunks=chunks, meta=np.empty((0, 0, 0)))
scene = xr.DataArray(pixels, dims=("band", "y", "x")).rio.write_crs("EPSG:32613")
scene = scene.rio.write_transform(Affine(10, 0, 400000, 0, -10, 5000000))
options = {"tiling_scheme": "GoogleMapsCompatible", "level": 1, "nodata": 0}
with dask.config.set(scheduler="threads", num_workers=2):
    promised = scene.geo.plan(**options).peak_bytes(2)
    scene.geo.to_cog(sys.argv[2], progress=False, **options)
print(peak_bytes(), promised)
"""


@pytest.mark.large
def test_peak_does_not_grow_with_the_scene(tmp_path):
    """0.5 GB and 1.6 GB of pixels on two threads."""
    peaks = []
    for rows in (8, 24):
        run = subprocess.run(
            [
                sys.executable,
                "-c",
                oracles.PEAK + SCRIPT,
                str(rows),
                str(tmp_path / "cog.tif"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append([int(each) for each in run.stdout.split()])

    for peak, promised in peaks:
        assert peak <= promised
    assert peaks[1][0] <= 1.1 * peaks[0][0]


class Living:
    """Counts the bytes of the chunks of a lazy raster that are in memory."""

    def __init__(self):
        self.lock, self.now, self.peak = Lock(), 0, 0

    def raster(self, height, width, chunk, **where):
        pixels = da.zeros((height, width), dtype="uint8", chunks=chunk)
        return oracles.raster(pixels.map_blocks(self._made, dtype="uint8"), **where)

    def _made(self, block):
        made = np.array(block) + np.uint8(1)
        with self.lock:
            self.now += made.nbytes
            self.peak = max(self.peak, self.now)
        weakref.finalize(made, self._gone, made.nbytes)
        return made

    def _gone(self, count):
        with self.lock:
            self.now -= count


@pytest.mark.parametrize("place", ["utm", "web mercator"])
def test_source_chunks_in_memory_are_within_the_plan(tmp_path, monkeypatch, place):
    """Of four rows of chunks, not all are in memory."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", 512)
    living = Living()
    array = living.raster(2560, 600, 128, **PLACES[place][0])
    options = {"tiling_scheme": GOOGLE, "nodata": 0, "progress": False}

    plan = array.geo.plan(**options)
    with dask.config.set(scheduler="threads", num_workers=2):
        to_cog(array, tmp_path / "a.tif", **options)

    assert 0 < living.peak <= plan.reprojected_bytes < 0.7 * array.nbytes
    assert f"source       {human_bytes(plan.reprojected_bytes)}" in str(plan)
    assert plan.peak_bytes() > plan.reprojected_bytes


def test_source_that_waits_grows_with_width_alone():
    """Twice the width is twice the chunks in a row, and rows cross more of them."""
    options = {"tiling_scheme": GOOGLE, "nodata": 0}
    bound = {
        size: Living().raster(*size, 512, **UTM).geo.plan(**options).reprojected_bytes
        for size in [(20480, 4096), (40960, 4096), (20480, 8192)]
    }

    assert bound[40960, 4096] < 1.25 * bound[20480, 4096]
    assert 1.9 * bound[20480, 4096] < bound[20480, 8192] < 3 * bound[20480, 4096]


def test_no_source_waits_without_a_scheme():
    plan = oracles.raster(np.zeros((600, 600), "uint8")).geo.plan()

    assert plan.reprojected_bytes == 0
    assert "source" not in str(plan)
