"""A GeoTIFF in the browser: what the server gives, and what the page shows."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from importlib.resources import files

import imagecodecs
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

import browser
import oracles
from lazycog import _cli, _page_server, _view

RNG = np.random.default_rng(1)
RGB = RNG.integers(1, 255, (3, 300, 400), dtype="uint8")


@contextlib.contextmanager
def served(path):
    """Serve a file from a thread."""
    with _view.serving(str(path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


def ask(server, path="/file.tif", method="GET", **headers):
    """Give status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request(method, path, headers=names)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "scene.tif"
    oracles.write(oracles.raster(RGB, nodata=0), path, blocksize=128)
    return path


@pytest.fixture(scope="module")
def server(file):
    with served(file) as running:
        yield running


# --- the server ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-5", 5, 6),
        ("bytes=10-99999999999", 10, None),
        ("bytes=-99999999999", 0, None),
    ],
)
def test_range_gives_these_bytes_with_206(server, file, wanted, start, stop):
    content = file.read_bytes()

    status, headers, body = ask(server, Range=wanted)

    assert (status, body) == (206, content[start:stop])
    first = start % len(content)
    span = f"bytes {first}-{first + len(body) - 1}/{len(content)}"
    assert headers["Content-Range"] == span
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("wanted", ["bytes={size}-", "bytes={size}-{size}", "bytes=-0"])
def test_range_beyond_the_end_is_416(server, file, wanted):
    size = file.stat().st_size

    status, headers, body = ask(server, Range=wanted.format(size=size))

    assert (status, body) == (416, b"")
    assert headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,4-5", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=a-b", "1-2"]
)
def test_other_ranges_are_ignored_as_the_standard_says(server, file, wanted):
    status, headers, body = ask(server, Range=wanted)

    assert (status, body) == (200, file.read_bytes())
    assert "Content-Range" not in headers


def test_head_has_the_headers_of_get_and_no_body(server):
    for wanted in ({}, {"Range": "bytes=3-9"}, {"Range": "bytes=99999999-"}):
        status, headers, body = ask(server, method="HEAD", **wanted)
        like = ask(server, **wanted)
        for each in (headers, like[1]):
            each.pop("Date")

        assert (status, headers, body) == (like[0], like[1], b"")
    assert headers["Accept-Ranges"] == "bytes"


def test_etag_spares_a_file_that_is_the_same(server):
    etag = ask(server, method="HEAD")[1]["ETag"]

    assert ask(server, If_None_Match=f'"x", W/{etag}')[0] == 304
    assert ask(server, If_None_Match='"x"')[0] == 200
    assert ask(server, Range="bytes=0-1", If_Range=etag)[0] == 206


def test_parts_of_an_older_file_are_not_mixed_with_a_newer_one(tmp_path):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(RGB), path)
    with served(path) as server:
        etag = ask(server, method="HEAD")[1]["ETag"]
        oracles.write(oracles.raster(RGB[:1]), path)

        status, headers, body = ask(server, Range="bytes=0-1", If_Range=etag)

        assert (status, body) == (200, path.read_bytes())
        assert headers["ETag"] != etag


@pytest.mark.parametrize(
    "path",
    [
        "/scene.tif",
        "/../scene.tif",
        "/../../../../etc/passwd",
        "/%2e%2e/scene.tif",
        "//etc/passwd",
        "/view.js/../index.html",
        "/index.html",
        "/file.tif/",
        "file.tif",
        "/view.js%00.tif",
        "/_assets/view.js",
    ],
)
def test_no_other_path_is_served(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_no_other_method_is_served(server, method):
    status, headers, _ = ask(server, method=method)

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:80", "", "127.0.0.1.a.org"]
)
def test_name_of_another_site_that_leads_here_is_refused(server, host):
    assert ask(server, Host=host)[0] == 421


def test_every_answer_allows_this_server_alone(server):
    for path in ("/", "/file.tif", "/info.json", "/nothing"):
        headers = ask(server, path)[1]

        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_server_listens_on_the_loopback_interface_alone(server):
    assert server.server_address[0] == "127.0.0.1"


def test_removed_file_is_404_and_its_description_says_so(tmp_path):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(RGB), path)
    with served(path) as server:
        path.unlink()

        assert ask(server)[0] == 404
        status, _, body = ask(server, "/info.json")
        assert status == 500
        assert "no such file" in json.loads(body)["error"]


def test_page_and_licences_are_in_the_package(server):
    folder = files("lazycog") / "_assets"
    for path, (name, media_type) in _view.PAGE.items():
        status, headers, body = ask(server, path)

        assert (status, headers["Content-Type"]) == (200, media_type)
        assert body == (folder / name).read_bytes()
    licences = (folder / "LICENSES.txt").read_text()
    for package in ("ol", "geotiff", "pako", "fzstd", "lerc"):
        assert re.search(rf"^{package} \d\S+ \(", licences, re.MULTILINE)


def test_description_has_what_gdal_says(file):
    about = _view.describe(str(file))

    with rasterio.open(file) as dataset:
        assert about["transform"] == list(dataset.transform)[:6]
        assert about["crs"] == dataset.crs.to_string()
        tags = dataset.tags(2)
    found = about["bands"][1]["statistics"]
    assert found["mean"] == float(tags["STATISTICS_MEAN"])
    assert [each["width"] for each in about["levels"]] == [400, 200, 100]


def test_statistics_are_measured_where_the_file_has_none(tmp_path):
    pixels = np.full((2, 64, 64), np.nan, "float32")
    pixels[0, :, :32] = 3
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(pixels), path, statistics=False)

    first, second = _view.describe(str(path))["bands"]

    assert first["statistics"]["maximum"] == 3
    assert first["statistics"]["estimated"]
    assert second["statistics"] is None


def test_percentiles_are_those_of_the_smallest_level(tmp_path):
    pixels = np.arange(200 * 200, dtype="uint16").reshape(1, 200, 200) + 1
    pixels[0, :100] = 0
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(pixels, nodata=0), path, blocksize=64)

    (band,) = _view.describe(str(path))["bands"]

    with rasterio.open(path, overview_level=1) as dataset:
        valid = dataset.read(masked=True).compressed()
    assert band["percentiles"] == np.percentile(valid, (2, 98)).tolist()
    assert band["statistics"]["minimum"] == 20001


# --- the command --------------------------------------------------------------------


def test_command_serves_until_ctrl_c(file):
    # a shell's background jobs ignore SIGINT, and so do their children
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from lazycog import _cli; _cli.main()"
    )
    command = [sys.executable, "-c", code, "view", str(file), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = re.match(r"http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())[1]
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            assert b"lazycog view" in connection.getresponse().read()
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_browser_is_opened_unless_told_not_to(file, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(_page_server.PageServer, "serve_forever", lambda _: None)

    for flags in ([], ["--no-browser"]):
        outcome = CliRunner().invoke(_cli.cli, ["view", str(file), *flags])
        assert outcome.exit_code == 0, outcome.output

    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")


def test_port_that_is_taken_is_a_wrong_call(file):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        outcome = CliRunner().invoke(_cli.cli, ["view", str(file), "--port", str(port)])

    assert outcome.exit_code == 2
    assert f"port {port} cannot be used" in outcome.stderr
    assert "--port" in outcome.stderr


@pytest.mark.parametrize(
    ("dtype", "options", "message"),
    [
        ("uint8", {"compress": "lzma"}, "compressed with lzma"),
        ("int64", {}, "pixels of int64"),
        ("complex64", {}, "pixels of complex64"),
    ],
)
def test_file_that_browsers_cannot_decode_is_refused(tmp_path, dtype, options, message):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(RGB.astype(dtype)), path, **options)

    outcome = CliRunner().invoke(_cli.cli, ["view", str(path)])

    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert "lazycog quicklook" in outcome.stderr


# --- the page -----------------------------------------------------------------------

MAP = (385, 375)
"""Middle of the map on the screen."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if browser.program() is None:
        pytest.skip("no Chromium: install it, or set LAZYCOG_CHROMIUM")
    with browser.tab(tmp_path_factory.mktemp("profile")) as found:
        yield found


def shown(tab):
    """Give column, row and values under the pointer, as the page says them."""
    tab.point(*MAP)
    tab.settle()
    text = tab.run("document.getElementById('pointer').innerText")
    column, row = map(int, re.match(r"column (\d+), row (\d+)", text).groups())
    cells = tab.run(
        "[...document.querySelectorAll('#pointer .value')].map((e) => e.innerText)"
    )
    return column, row, [float(each) for each in cells]


def expected(path, level, column, row, *, around=0):
    """Give a level's values at a place of the full resolution, and those around it."""
    with rasterio.open(path) as dataset:
        height, width = dataset.shape
    with rasterio.open(
        path, **({"overview_level": level - 1} if level else {})
    ) as part:
        at = (row * part.height // height, column * part.width // width)
        rows, columns = (slice(each - around, each + around + 1) for each in at)
        return part.read()[:, rows, columns].astype(float).reshape(part.count, -1)


def colour(tab):
    """Give the colour of the screen in the middle of the map, without the grid."""
    tab.run("document.getElementById('show-grid').click()")
    tab.settle()
    return imagecodecs.png_decode(tab.picture(*MAP))[0, 0, :3].astype(int)


@pytest.mark.parametrize(("scale", "level"), [(16, 0), (0.5, 1), (0.24, 2)])
def test_page_shows_the_pixels_of_the_level_that_fits(tab, server, file, scale, level):
    tab.messages.clear()

    tab.open(f"{server.url}#201.4,150.4,{scale}")

    assert tab.run("document.body.dataset.level") == str(level)
    assert tab.run("document.querySelector('tr.shown').rowIndex") == level + 1
    column, row, values = shown(tab)
    assert (column, row) == (201, 150)
    assert values == list(expected(file, level, column, row)[:, 0])
    # the pixel of the screen may be beside the one that is pointed at
    near = expected(file, level, column, row, around=1)
    assert np.abs(near - colour(tab)[:, np.newaxis]).max(axis=0).min() <= 1
    assert tab.messages == []


def test_page_asks_this_server_for_ranges_and_nobody_else(tab, server):
    tab.requests.clear()
    tab.answers.clear()

    tab.open(server.url)

    assert all(url.startswith((server.url, "about:")) for url in tab.requests)
    answers = [status for url, status in tab.answers if url.endswith("file.tif")]
    assert answers
    assert set(answers) == {206}


KINDS = {
    "uint16": ("uint16", {}),
    "int16 packbits": ("int16", {"compress": "packbits"}),
    "float32": ("float32", {"compress": "deflate"}),
    "float64 bands": ("float64", {"interleave": "band", "compress": "lzw"}),
    "float16": ("float16", {}),
    "uint8 mask": ("uint8", {"mask": True, "nodata": 255}),
    "lerc_zstd": ("float32", {"compress": "lerc_zstd"}),
    "lerc_deflate": ("uint16", {"compress": "lerc_deflate"}),
    "jpeg": ("uint8", {"compress": "jpeg", "quality": 100}),
    "webp": ("uint8", {"compress": "webp", "lossless": True}),
    "none tiles": ("uint32", {"compress": "none", "interleave": "tile"}),
    "deduplicate": ("uint8", {"deduplicate": True}),
}
FEW = ("float32", "float64 bands", "lerc_zstd", "jpeg")
TOLERANCE = {"jpeg": 3}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in FEW else pytest.mark.large)
        for kind in KINDS
    ],
)
def test_numbers_under_the_pointer_are_those_of_the_file(tab, tmp_path, kind):
    dtype, options = KINDS[kind]
    path = tmp_path / "a.tif"
    # smooth, so that a lossy codec keeps it
    ramp = np.add.outer(np.arange(200), np.arange(300)) // 3
    pixels = np.stack([ramp + 20, ramp + 40, ramp + 60]).astype(dtype)
    oracles.write(oracles.raster(pixels), path, blocksize=64, **options)

    with served(path) as server:
        tab.open(f"{server.url}#151.5,101.5,8")
        column, row, values = shown(tab)

    truth = expected(path, 0, column, row)[:, 0]
    assert (column, row) == (151, 101)
    assert np.allclose(values, truth, rtol=1e-6, atol=TOLERANCE.get(kind, 0))


LARGE = ("nodata", "sparse")


def test_bool_is_black_and_white(tab, tmp_path):
    pixels = np.zeros((100, 100), bool)
    pixels[:, 50:] = True
    oracles.write(oracles.raster(pixels), tmp_path / "a.tif")

    with served(tmp_path / "a.tif") as server:
        for column, value in ((20.5, 0), (80.5, 1)):
            tab.open(f"{server.url}#{column},50.5,10")
            assert shown(tab)[2] == [value]
            assert set(colour(tab)) == {255 * value}


@pytest.mark.parametrize(
    "how",
    ["nan", "mask", *(pytest.param(each, marks=pytest.mark.large) for each in LARGE)],
)
def test_missing_pixels_are_transparent(tab, tmp_path, how):
    pixels = np.full((200, 200), 100, "float32" if how == "nan" else "uint16")
    pixels[:, :128] = np.nan if how == "nan" else 7
    options = {} if how == "nan" else {"nodata": 7}
    if how in {"mask", "sparse"}:
        options[how] = True
    oracles.write(oracles.raster(pixels), tmp_path / "a.tif", blocksize=64, **options)

    with served(tmp_path / "a.tif") as server:
        tab.open(f"{server.url}#60.5,100.5,4")
        assert shown(tab)[2] == []
        assert "no data" in tab.text()
        assert max(colour(tab)) < 60  # the ground of the page
        tab.open(f"{server.url}#160.5,100.5,4")
        assert shown(tab)[2] == [100]


TURNED = Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(10, -10)
PLACES = {
    "none": (None, None),
    "degrees": ("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, 50)),
    "rotated": ("EPSG:32633", TURNED),
    "south up": ("EPSG:3031", Affine(100, 0, -2e6, 0, 100, 1e6)),
    "wide pixels": ("EPSG:32633", Affine(20, 0, 5e5, 0, -10, 5e6)),
    "no code": ("+proj=laea +lat_0=47.3 +lon_0=8.1", Affine(30, 0, 0, 0, -30, 0)),
}
FEW_PLACES = ("none", "rotated")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW_PLACES else pytest.mark.large)
        for name in PLACES
    ],
)
def test_coordinates_are_those_of_gdal_in_any_crs(tab, tmp_path, name):
    crs, transform = PLACES[name]
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(RGB[0], crs=crs, transform=transform), path)

    with served(path) as server:
        tab.open(f"{server.url}#200.5,100.5,4")
        column, row, values = shown(tab)
        text = tab.run("document.getElementById('pointer').innerText")

    assert (column, row) == (200, 100)
    assert values == [RGB[0, 100, 200]]
    place = re.search(r"x (\S+), y (\S+)", text)
    assert (place is None) == (crs is None)
    if place is not None:
        x, y = ~transform * (float(place[1]), float(place[2]))
        assert np.allclose((x, y), (200.5, 100.5), atol=0.51)


def test_one_of_many_bands_is_chosen(tab, tmp_path):
    pixels = np.arange(9 * 100 * 100, dtype="uint32").reshape(9, 100, 100)
    path = tmp_path / "a.tif"
    names = [f"b{number}" for number in range(1, 10)]
    oracles.write(oracles.raster(pixels), path, descriptions=names)

    with served(path) as server:
        tab.open(f"{server.url}#50.5,50.5,5")
        tab.choose("#bands select", "8")
        tab.settle()
        assert shown(tab)[2] == [pixels[7, 50, 50]]
        assert "8 b8" in tab.run("document.getElementById('pointer').innerText")
        tab.choose("#mode", "colour")
        tab.settle()
        assert shown(tab)[2] == list(pixels[:3, 50, 50])


def test_clouds_do_not_darken_the_ground(tab, tmp_path):
    """Few pixels that are much brighter leave the range of the others as it is."""
    pixels = np.tile(np.arange(8000, 8100, dtype="uint16"), (100, 1))
    pixels[:, 0] = 60000
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(pixels), path)

    with served(path) as server:
        tab.open(f"{server.url}#50.5,50.5,5")

        assert tab.run("document.getElementById('stretch').value") == "percentiles"
        assert np.abs(colour(tab) - 128).max() <= 6


def test_three_bands_are_a_colour_unless_they_are_told_apart(tab, tmp_path):
    pixels = np.stack([np.full((99, 99), each, "uint8") for each in (250, 100, 5)])
    path = tmp_path / "a.tif"
    oracles.write(
        oracles.raster(pixels), path, descriptions=["nir", "red", "green"],
        colorinterp=["undefined"] * 3,
    )  # fmt: skip

    with served(path) as server:
        tab.open(f"{server.url}#50.5,50.5,5")

        assert tab.run("document.getElementById('mode').value") == "colour"
        assert np.abs(colour(tab) - (250, 100, 5)).max() <= 1


def test_grid_is_that_of_the_file_and_strips_that_are_thin_have_none(tab, tmp_path):
    drawn = (
        "(() => { const grid = document.getElementById('grid');"
        "const pixels = grid.getContext('2d').getImageData("
        "0, 0, grid.width, grid.height).data;"
        "return pixels.some((each) => each > 0); })()"
    )
    for name, block, expected in (("tiles", 64, True), ("strips", 2, False)):
        path = tmp_path / f"{name}.tif"
        layout = {"tiled": True, "blockxsize": block} if expected else {}
        with rasterio.open(
            path, "w", driver="GTiff", count=1, height=300, width=400, dtype="uint8",
            blockysize=block, crs="EPSG:32613", transform=oracles.TRANSFORM, **layout,
        ) as dataset:  # fmt: skip
            dataset.write(RGB[:1])

        with served(path) as server:
            tab.open(f"{server.url}#200,150,1.5")
            assert tab.run(drawn) is expected


def test_own_limits_become_black_and_white(tab, tmp_path):
    pixels = np.full((100, 100), 1000, "uint16")
    pixels[0, 0] = 0
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(pixels), path)

    with served(path) as server:
        tab.open(f"{server.url}#50.5,50.5,5")
        tab.choose("[aria-label='black']", "500")
        tab.choose("[aria-label='white']", "1500")
        tab.settle()

        assert tab.run("document.getElementById('stretch').value") == "own"
        assert np.abs(colour(tab) - 128).max() <= 1


def test_palette_is_shown_in_its_colours(tab, tmp_path):
    pixels = np.full((100, 100), 3, "uint8")
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(pixels), path, colormap={3: (200, 30, 60)})

    with served(path) as server:
        tab.open(f"{server.url}#50.5,50.5,5")

        assert np.abs(colour(tab) - (200, 30, 60)).max() <= 1


def test_removed_file_is_said_on_the_page(tab, tmp_path):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(RGB), path)
    with served(path) as server:
        path.unlink()
        tab.open(server.url, state="error")

    assert "no such file" in tab.text()


def test_page_says_what_to_do_without_webgl(tmp_path, server):
    if browser.program() is None:
        pytest.skip("no Chromium: install it, or set LAZYCOG_CHROMIUM")
    flags = ("--disable-gpu", "--disable-3d-apis")
    with browser.tab(tmp_path / "profile", flags=flags) as tab:
        tab.open(server.url, state="error")

        assert "no WebGL" in tab.text()
        assert "400 \u00d7 300" in tab.text()
        controls = "[...document.querySelectorAll('select, input')]"
        assert tab.run(f"{controls}.every((each) => each.disabled)")
