"""How a file gets to its place: all at once, wherever the path leads."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path

import dask.array as da
import fsspec
import numpy as np
import pytest
import rasterio
import rioxarray

import lazycog
from lazycog.errors import SinkError
from oracles import gdal_levels, raster, write


def plain(value, size=64):
    """Give a raster of one value."""
    return raster(np.full((size, size), value, "uint8"))


def names(folder):
    """Give the names in a folder, hidden ones too."""
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder and home of a test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "destination",
    ["cog.tif", "./cog.tif", "~/cog.tif", Path("cog.tif"), Path("~/cog.tif")],
    ids=repr,
)
def test_a_path_in_any_spelling(folder, destination):
    """Relative to the current folder, or to the home."""
    result = write(plain(1), destination)

    assert result.path == str(folder / "cog.tif")
    assert names(folder) == ["cog.tif"]
    assert lazycog.validate(folder / "cog.tif").ok


def test_a_relative_path_means_the_folder_of_the_call(folder):
    """A lazy write does not move with the process or to the worker's folder."""
    later = lazycog.to_cog(plain(1), "cog.tif", compute=False)
    (folder / "other").mkdir()
    os.chdir(folder / "other")

    later.compute()

    assert names(folder) == ["cog.tif", "other"]
    assert names(folder / "other") == []


NAMES = ["with space.tif", "no extension", "ünïcödé 雪.tif", "%41 #?.tif", "a" * 251]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12])
def test_a_name_that_the_file_system_takes(folder, name):
    """The temporary folder's name fits too."""
    write(plain(1), folder / name)

    assert names(folder) == [name]
    assert lazycog.validate(folder / name).ok


@pytest.mark.parametrize("relative", [True, False])
def test_a_symlink_stays_and_its_target_is_replaced(folder, relative):
    """As with any program that opens the path to write."""
    target, link = folder / "data" / "target.tif", folder / "link.tif"
    target.parent.mkdir()
    write(plain(1), target)
    link.symlink_to(target.relative_to(folder) if relative else target)

    result = write(plain(2), link)

    assert link.is_symlink()
    assert result.path == str(target)
    assert (gdal_levels(target)[0] == 2).all()
    assert names(target.parent) == ["target.tif"]


def test_a_symlink_to_nothing_yet(folder):
    """Its target appears."""
    (folder / "link.tif").symlink_to(folder / "target.tif")

    write(plain(2), folder / "link.tif", overwrite=False)

    assert (folder / "link.tif").is_symlink()
    assert lazycog.validate(folder / "target.tif").ok


def test_a_symlinked_folder(folder):
    """The file is where the link leads."""
    (folder / "data").mkdir()
    (folder / "link").symlink_to("data")

    write(plain(2), folder / "link" / "cog.tif")

    assert names(folder / "data") == ["cog.tif"]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_respected(folder, umask, overwrite):
    """The file has the permissions that any new file of the user has."""
    old = os.umask(umask)
    try:
        write(plain(1), folder / "cog.tif", overwrite=overwrite)
    finally:
        os.umask(old)

    mode = stat.S_IMODE((folder / "cog.tif").stat().st_mode)
    assert mode == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_permissions(folder):
    """A private file stays private, as if it had been written over."""
    write(plain(1), folder / "cog.tif")
    (folder / "cog.tif").chmod(0o640)

    write(plain(2), folder / "cog.tif", overwrite=True)

    assert stat.S_IMODE((folder / "cog.tif").stat().st_mode) == 0o640


def test_a_file_system_without_permissions(folder, monkeypatch):
    """It refuses to set even those that all its files have."""

    def refused(*_, **__):
        raise PermissionError

    write(plain(1), folder / "cog.tif")
    monkeypatch.setattr(Path, "chmod", refused)

    write(plain(2), folder / "cog.tif", overwrite=True)

    assert gdal_levels(folder / "cog.tif")[0].max() == 2


@pytest.mark.distributed
def test_a_store_that_workers_do_not_share(cluster):
    """Each process has a memory:// of its own: no pixel is computed, nothing left."""
    store = fsspec.filesystem("memory")

    with cluster.as_current(), pytest.raises(SinkError, match="do not share memory"):
        lazycog.to_cog(plain(1), "memory://not-shared/cog.tif", progress=False)

    assert not store.find("/not-shared")


def test_a_hard_link_keeps_the_old_file(folder):
    """The old file is replaced, never written into."""
    write(plain(1), folder / "cog.tif")
    os.link(folder / "cog.tif", folder / "kept.tif")

    write(plain(2), folder / "cog.tif")

    assert (gdal_levels(folder / "kept.tif")[0] == 1).all()
    assert (gdal_levels(folder / "cog.tif")[0] == 2).all()
    assert (folder / "cog.tif").stat().st_nlink == 1


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_finished_file_has_one_name(folder, overwrite):
    """No second link to it stays behind."""
    write(plain(1), folder / "cog.tif", overwrite=overwrite)

    assert (folder / "cog.tif").stat().st_nlink == 1
    assert names(folder) == ["cog.tif"]


def test_a_file_that_is_open_while_it_is_replaced(folder):
    """Whoever has it open goes on reading the old one."""
    path = folder / "cog.tif"
    write(plain(1, 1024), path)
    with rasterio.open(path) as old:
        first = old.read(window=((0, 100), (0, 100)))

        write(plain(2, 1024), path)

        rest = old.read(window=((512, 1024), (512, 1024)))
    assert (first == 1).all()
    assert (rest == 1).all()
    assert (gdal_levels(path)[0] == 2).all()


def test_a_file_that_is_its_own_source(folder):
    """It is read to the end before it is replaced."""
    path = folder / "cog.tif"
    write(plain(1, 1024), path)
    with rioxarray.open_rasterio(path, chunks={"x": 512, "y": 512}) as source:
        write(source + np.uint8(1), path)

    assert (gdal_levels(path)[0] == 2).all()


def here(array, path, **options):
    """Write without touching Dask's configuration, which all threads share."""
    lazycog.to_cog(array, path, progress=False, **options)


def test_two_writes_to_one_destination_at_once(folder):
    """Each has its own temporary folder; the last to finish stays, whole."""
    path, barrier = folder / "cog.tif", threading.Barrier(2, timeout=30)

    def lazy(value):
        def block():
            barrier.wait()
            return np.full((64, 64), value, "uint8")

        meta = np.empty((0, 0), "uint8")
        options = {"dtype": "uint8", "meta": meta, "chunks": ((64,), (64,))}
        return raster(da.map_blocks(block, **options))

    writers = [
        threading.Thread(target=here, args=(lazy(value), path)) for value in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert names(folder) == ["cog.tif"]
    assert np.unique(gdal_levels(path)[0]).tolist() in ([1], [2])
    assert lazycog.validate(path).ok


def test_two_writes_that_may_not_overwrite(folder):
    """Exactly one of them gets the name."""
    path, barrier = folder / "cog.tif", threading.Barrier(2, timeout=30)
    refused = []

    def lazy():
        def block():
            barrier.wait()
            return np.ones((64, 64), "uint8")

        meta = np.empty((0, 0), "uint8")
        options = {"dtype": "uint8", "meta": meta, "chunks": ((64,), (64,))}
        return raster(da.map_blocks(block, **options))

    def attempt():
        try:
            here(lazy(), path, overwrite=False)
        except FileExistsError as error:
            refused.append(error)

    writers = [threading.Thread(target=attempt) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert len(refused) == 1
    assert names(folder) == ["cog.tif"]
    assert lazycog.validate(path).ok


def test_a_lazy_write_that_is_computed_twice(folder):
    """The second time replaces the first, byte for byte."""
    path = folder / "cog.tif"
    later = lazycog.to_cog(plain(1), path, compute=False)
    later.compute()
    first = path.read_bytes()
    path.unlink()

    later.compute()

    assert path.read_bytes() == first
    assert names(folder) == ["cog.tif"]


def test_a_lazy_write_makes_nothing_before_it_is_computed(folder):
    """Not even a folder."""
    lazycog.to_cog(plain(1), folder / "cog.tif", compute=False)

    assert names(folder) == []


def test_a_lock_serialises_the_writes(folder):
    """For file systems that take no positional writes from several threads."""
    held, most = [], []

    class Lock:
        inner = threading.Lock()

        def __enter__(self):
            self.inner.acquire()
            held.append(1)
            most.append(len(held))

        def __exit__(self, *_):
            held.pop()
            self.inner.release()

    pixels = raster(da.ones((6, 1024, 1024), dtype="uint8", chunks=(1, 512, 512)))

    lazycog.to_cog(pixels, folder / "cog.tif", lock=Lock(), blocksize=256)

    assert set(most) == {1}
    assert lazycog.validate(folder / "cog.tif").ok


@pytest.mark.parametrize("lock", [True, False, None, contextlib.nullcontext()])
def test_every_lock_gives_the_same_bytes(folder, lock):
    """It is about when, not about what."""
    write(plain(3, 600), folder / "with.tif", lock=lock)
    write(plain(3, 600), folder / "without.tif")

    assert (folder / "with.tif").read_bytes() == (folder / "without.tif").read_bytes()
