// The page of `lazycog view`: one GeoTIFF, read by range requests, drawn by WebGL.
import OlMap from 'ol/Map.js';
import View from 'ol/View.js';
import {defaults as defaultInteractions} from 'ol/interaction/defaults.js';
import WebGLTileLayer from 'ol/layer/WebGLTile.js';
import Projection from 'ol/proj/Projection.js';

import {drawGrid} from './grid.js';
import {Panel} from './panel.js';
import {FileSource} from './source.js';
import {colour, initialLook, loadedBands} from './style.js';

const SMALLEST_SIDE = 0.5; // of the screen, or the smallest level as it is
const LARGEST_SCALE = 64; // screen pixels per pixel of the image

function say(message) {
  const box = document.getElementById('message');
  box.textContent = message;
  box.hidden = !message;
  if (message) {
    document.body.dataset.state = 'error';
  }
}

function webglProblem() {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (gl) {
    gl.getExtension('WEBGL_lose_context')?.loseContext();
    return '';
  }
  return (
    'This browser has no WebGL 2, which draws the pixels here. Turn hardware ' +
    'acceleration on in its settings, or start Chromium with ' +
    '--enable-unsafe-swiftshader. What the panel says of the file holds all the same.'
  );
}

class Page {
  constructor(file) {
    this.file = file;
    this.look = initialLook(file);
    this.aspect = file.aspect;
    this.extent = [0, 0, file.width, file.height * file.aspect];
    this.projection = new Projection({
      code: 'PIXELS',
      units: 'pixels',
      extent: this.extent,
    });
    this.pointer = null;
  }

  start() {
    this.map = new OlMap({
      target: 'map',
      controls: [],
      interactions: defaultInteractions({
        altShiftDragRotate: false,
        pinchRotate: false,
      }),
      view: this.makeView(),
    });
    this.layer = new WebGLTileLayer({
      extent: this.extent,
      style: {color: [0, 0, 0, 0]},
    });
    this.map.addLayer(this.layer);
    this.readFile();
    this.map.on('postrender', () => this.overlay());
    this.map.on('pointermove', ({pixel}) => this.point(pixel));
    this.map.on('movestart', () => this.wait());
    this.map.on('moveend', () => this.remember());
    this.map.on('rendercomplete', () => {
      if (this.drawn && this.source.getState() === 'ready') {
        this.setState('ready');
      }
      this.showPointer(); // its tile has come
    });
    this.map.getViewport().addEventListener('pointerleave', () => this.point(null));
    window.addEventListener('hashchange', () => this.go(this.remembered()));
    this.go(this.remembered());
    this.wait();
  }

  // Not everything that is asked for is drawn, until a frame that begins from now on
  // is complete.
  wait() {
    this.setState('loading');
    this.drawn = false;
    this.map.once('postrender', () => {
      this.drawn = true;
    });
    this.map.render();
  }

  setState(state) {
    if (document.body.dataset.state !== 'error') {
      document.body.dataset.state = state;
    }
  }

  makeView() {
    const {width, height} = this.file;
    const [screenWidth, screenHeight] = this.screen();
    const fit = Math.max(width / screenWidth, (height * this.aspect) / screenHeight);
    return new View({
      projection: this.projection,
      center: [width / 2, (height * this.aspect) / 2],
      resolution: fit * 1.05,
      maxResolution: Math.max(
        fit / SMALLEST_SIDE,
        (1.1 * width) / this.file.levels.at(-1).width,
      ),
      minResolution: Math.min(1 / LARGEST_SCALE, fit),
      constrainOnlyCenter: true,
      extent: this.extent,
      enableRotation: false,
    });
  }

  screen() {
    const box = document.getElementById('map').getBoundingClientRect();
    return [Math.max(1, box.width), Math.max(1, box.height)];
  }

  // A new source where other bands are wanted, else only a new style.
  readFile() {
    const bands = loadedBands(this.file, this.look);
    if (String(bands) !== String(this.bands)) {
      this.bands = bands;
      this.source = new FileSource(this.file, bands, this.projection);
      this.source.on('change', () => {
        const error = this.source.getError();
        if (error) {
          say(`The file cannot be read: ${error.message}`);
        }
        this.overlay();
      });
      this.source.on('tileloaderror', ({tile}) => {
        const coord = tile.tileCoord.join('/');
        say(`Tile ${coord} cannot be decoded; the browser's console says more.`);
      });
      this.layer.setSource(this.source);
    }
    this.restyle();
  }

  restyle() {
    this.layer.setStyle(colour(this.file, this.look, this.bands));
    this.wait();
  }

  // The level from which tiles are taken at this scale, 0 for the full resolution.
  level() {
    const grid = this.source.getTileGrid();
    if (!grid) {
      return null;
    }
    const resolution = this.map.getView().getResolution();
    const z = grid.getZForResolution(resolution, this.source.zDirection);
    const index = this.file.levels.length - 1 - z;
    return index in this.file.levels ? {z, index, grid} : null; // none of ours yet
  }

  overlay() {
    const level = this.level();
    if (!level) {
      return;
    }
    this.panel.showLevel(level.index, 1 / this.map.getView().getResolution());
    drawGrid(this, level);
  }

  point(pixel) {
    this.pointer = pixel;
    this.showPointer();
  }

  showPointer() {
    const level = this.pointer && this.level();
    if (!level) {
      this.panel.showPointer(null);
      return;
    }
    const [x, y] = this.map.getCoordinateFromPixel(this.pointer);
    const column = x;
    const row = this.file.height - y / this.aspect;
    const inside =
      column >= 0 && row >= 0 && column < this.file.width && row < this.file.height;
    this.panel.showPointer(
      inside
        ? {column, row, level: level.index, values: this.values(this.pointer)}
        : null,
    );
  }

  // The numbers of the file under a pixel of the screen, null where there are none.
  values(pixel) {
    const data = this.layer.getData(pixel);
    if (!data) {
      return null;
    }
    const {masked, nodata} = this.file;
    if ((masked || nodata !== null) && data[this.bands.length] === 0) {
      return [];
    }
    return this.bands.map((band, index) => ({band, value: data[index]}));
  }

  fit() {
    const [width, height] = this.screen();
    const wide = Math.max(
      this.file.width / width,
      (this.file.height * this.aspect) / height,
    );
    this.move([this.file.width / 2, (this.file.height * this.aspect) / 2], wide * 1.05);
  }

  zoomBy(factor) {
    const view = this.map.getView();
    view.animate({resolution: view.getResolution() / factor, duration: 150});
  }

  move(center, resolution) {
    const view = this.map.getView();
    view.setCenter(center);
    view.setResolution(resolution);
    this.wait();
  }

  // #column,row,scale: what stands in the middle, and its screen pixels per pixel
  remembered() {
    const numbers = location.hash.slice(1).split(',').map(Number);
    return numbers.length === 3 && numbers.every(Number.isFinite) && numbers[2] > 0
      ? numbers
      : null;
  }

  go(place) {
    if (place) {
      const [column, row, scale] = place;
      this.move([column, (this.file.height - row) * this.aspect], 1 / scale);
    }
  }

  remember() {
    const view = this.map.getView();
    const [x, y] = view.getCenter();
    const row = this.file.height - y / this.aspect;
    const place = [x.toFixed(1), row.toFixed(1), (1 / view.getResolution()).toPrecision(5)];
    history.replaceState(null, '', `#${place.join(',')}`);
  }
}

async function start() {
  const answer = await fetch('info.json');
  const file = await answer.json();
  if (!answer.ok) {
    say(file.error);
    return;
  }
  const page = new Page(file);
  page.panel = new Panel(page);
  const problem = webglProblem();
  if (problem) {
    say(problem);
    document.getElementById('tools').hidden = true;
    for (const control of document.querySelectorAll('select, input')) {
      control.disabled = true;
    }
    return;
  }
  page.start();
}

start().catch((error) => say(`The page failed: ${error.message}`));
