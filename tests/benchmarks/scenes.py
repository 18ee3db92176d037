"""Scenes to write: statistics of real images where there are some, of any size.

A scene is kept as a Zarr store, as an uncompressed tiled TIFF for tools that take a
file, and as the raw pixels of its overviews for the floor.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from numpy.typing import NDArray

VARIABLE = "pixels"
CHUNK = 2048
"""Side of the chunks of the store, whole tiles of every contender."""
SEED = 20150101
PIXEL_METERS = 30.0
CORNER = (300000.0, 6800000.0)
CRS = "EPSG:32622"
LANDSAT = tuple(f"LC80030172015001LGN00_B{band}.tiff" for band in (2, 3, 4, 5))
COLOUR = "RGB.byte.tif"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Where real images are looked for by default."""

Window = tuple[range, range]


@dataclass(frozen=True)
class Scene:
    """Where the files of a scene are."""

    name: str
    folder: Path
    size: int
    """Side in pixels."""
    origin: str
    """What the pixels stem from."""

    @property
    def zarr(self) -> Path:
        """The source of tools that take a lazy array."""
        return self.folder / "source.zarr"

    @property
    def tif(self) -> Path:
        """The source of tools that take a file: tiled, uncompressed."""
        return self.folder / "source.tif"

    @property
    def overviews(self) -> Path:
        """Raw pixels of the overviews, ``1.npy`` and so on, shape (band, row, col)."""
        return self.folder / "overviews"


@dataclass(frozen=True)
class Kind:
    """A kind of scene."""

    name: str
    dtype: str
    count: int
    predictor: int
    """The one that suits it."""
    blocks: Callable[[Path | None], tuple[Callable[[Window, int], NDArray[Any]], str]]
    """From the folder of real images to a function that gives the pixels of a window
    of a scene of some size, and a word on where they stem from."""


def open_scene(zarr: Path | str) -> xr.DataArray:
    """Open a scene lazily, with chunks as they are stored."""
    import rioxarray  # noqa: F401 - registers .rio
    import xarray as xr

    dataset = xr.open_zarr(zarr, mask_and_scale=False, decode_coords="all")
    array: xr.DataArray = dataset[VARIABLE]
    return array


def make(kind: Kind, size: int, folder: Path, data: Path | None) -> Scene:
    """Make the files of a scene, or take those that are there.

    Parameters
    ----------
    kind : Kind
        What to make.
    size : int
        Side in pixels.
    folder : Path
        Holds a folder per scene.
    data : Path or None
        Folder of real images, None for none.

    Returns
    -------
    Scene
        Complete; what an interrupted call has left is made anew.
    """
    pixels, origin = kind.blocks(data if data is not None and data.is_dir() else None)
    scene = Scene(kind.name, folder / f"{kind.name}-{size}", size, origin)
    done = scene.folder / "complete"
    if done.exists() and done.read_text(encoding="utf-8") == origin:
        return scene
    shutil.rmtree(scene.folder, ignore_errors=True)
    scene.folder.mkdir(parents=True)
    _store(kind, scene, pixels)
    _files(kind, scene)
    done.write_text(origin, encoding="utf-8")
    return scene


def _store(
    kind: Kind, scene: Scene, pixels: Callable[[Window, int], NDArray[Any]]
) -> None:
    """Write the scene as Zarr, quick to read."""
    import dask.array
    import numpy as np
    import rioxarray  # noqa: F401 - registers .rio
    import xarray as xr
    import zarr.codecs

    def block(block_info: Any = None) -> NDArray[Any]:
        _, rows, cols = block_info[None]["array-location"]
        return pixels((range(*rows), range(*cols)), scene.size)

    sides = tuple(min(CHUNK, scene.size - at) for at in range(0, scene.size, CHUNK))
    array = dask.array.map_blocks(
        block, dtype=kind.dtype, chunks=((kind.count,), sides, sides)
    )
    centers = (np.arange(scene.size) + 0.5) * PIXEL_METERS
    dataset = xr.DataArray(
        array,
        dims=("band", "y", "x"),
        coords={"y": CORNER[1] - centers, "x": CORNER[0] + centers},
        name=VARIABLE,
    ).to_dataset()
    quick = zarr.codecs.BloscCodec(cname="lz4", clevel=1)
    dataset.rio.write_crs(CRS).to_zarr(
        scene.zarr,
        mode="w",
        consolidated=False,
        zarr_format=3,
        encoding={VARIABLE: {"compressors": (quick,)}},
    )


def _files(kind: Kind, scene: Scene) -> None:
    """Write the TIFF, and the overviews as raw pixels."""
    import numpy as np
    import rasterio

    import lazycog

    array = open_scene(scene.zarr)
    whole = scene.folder / "pyramid.tif"
    result = lazycog.to_cog(array, whole, compress="none", progress=False)
    scene.overviews.mkdir()
    for index in range(1, len(result.levels)):
        with rasterio.open(whole, overview_level=index - 1) as level:
            np.save(scene.overviews / f"{index}.npy", level.read())
    tiled = {
        "driver": "GTiff",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "bigtiff": "IF_SAFER",
        "interleave": "pixel",
        "photometric": "RGB" if kind.name == "rgb" else "MINISBLACK",
    }
    with rasterio.open(whole) as source:
        profile = {**source.profile, **tiled, "compress": None, "nodata": None}
        with rasterio.open(scene.tif, "w", **profile) as target:
            for _, window in source.block_windows(1):
                target.write(source.read(window=window), window=window)
    whole.unlink()


# --- pixels ---------------------------------------------------------------------------


def _mosaic(image: NDArray[Any]) -> Callable[[Window, int], NDArray[Any]]:
    """Repeat an image, mirrored at each seam, so that no seam is an edge."""
    import numpy as np

    def pixels(window: Window, _: int) -> NDArray[Any]:
        rows, cols = (
            _mirrored(np.arange(span.start, span.stop), length)
            for span, length in zip(window, image.shape[1:], strict=True)
        )
        return np.ascontiguousarray(image[:, rows][:, :, cols])

    return pixels


def _mirrored(index: NDArray[Any], length: int) -> NDArray[Any]:
    import numpy as np

    folded = index % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def _multispectral(
    data: Path | None,
) -> tuple[Callable[[Window, int], NDArray[Any]], str]:
    import numpy as np
    import rasterio

    if data is None or not all((data / name).exists() for name in LANDSAT):
        return _synthetic, "synthetic"
    bands = []
    for name in LANDSAT:
        with rasterio.open(data / name) as band:
            bands.append(band.read(1))
    return _mosaic(np.stack(bands)), "Landsat 8, mirrored"


def _rgb(data: Path | None) -> tuple[Callable[[Window, int], NDArray[Any]], str]:
    import numpy as np
    import rasterio

    def eight_bits(window: Window, size: int) -> NDArray[Any]:
        return (_synthetic(window, size)[:3] // 40).clip(1, 255).astype(np.uint8)

    if data is None or not (data / COLOUR).exists():
        return eight_bits, "synthetic"
    with rasterio.open(data / COLOUR) as image:
        pixels, valid = image.read(), image.dataset_mask() > 0
    rows, cols = _filled(valid)
    return _mosaic(pixels[:, rows, cols]), "Landsat 7, 8 bits, mirrored"


def _filled(valid: NDArray[Any]) -> tuple[slice, slice]:
    """Give a large window without missing pixels: a frame would compress too well."""
    top, bottom, left, right = 0, valid.shape[0], 0, valid.shape[1]
    while not valid[top:bottom, left:right].all():
        window = valid[top:bottom, left:right]
        missing = [
            1 - edge.mean()
            for edge in (window[0], window[-1], window.T[0], window.T[-1])
        ]
        worst = missing.index(max(missing))
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)


def _elevation(_: Path | None) -> tuple[Callable[[Window, int], NDArray[Any]], str]:
    """Heights of a fractal surface in metres, with the noise of a lidar."""
    import numpy as np

    from lazycog import _demo

    def heights(window: Window, size: int) -> NDArray[Any]:
        rows, cols = window
        surface = _demo._noise(rows, cols, size, SEED)
        grain = np.random.default_rng([SEED, rows.start, cols.start])
        noise = grain.standard_normal(surface.shape, dtype=np.float32)
        return (1500 + 900 * surface + 0.05 * noise)[np.newaxis].astype(np.float32)

    return heights, "synthetic"


def _synthetic(window: Window, size: int) -> NDArray[Any]:
    """Give the inner half of the demo's scene, which has pixels everywhere."""
    from lazycog import _demo

    rows, cols = (
        range(size // 2 + span.start, size // 2 + span.stop) for span in window
    )
    return _demo.scene_pixels(rows, cols, 2 * size)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("multispectral", "uint16", 4, 2, _multispectral),
        Kind("elevation", "float32", 1, 3, _elevation),
        Kind("rgb", "uint8", 3, 2, _rgb),
    )
}
