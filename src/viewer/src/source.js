// The file as a source of OpenLayers, in coordinates of its own pixels.
import GeoTIFF from 'ol/source/GeoTIFF.js';

// Every image is placed by its pixels: y is up, and a row as high as its pixels are on
// the ground. So rotated rasters, such without a CRS and any CRS at all look as they
// are, and nothing is resampled. What coordinates they mean, the panel works out.
function placeByPixels(image, full, aspect) {
  image.getOrigin = () => [0, full.getHeight() * aspect, 0];
  image.getBoundingBox = () => [0, 0, full.getWidth(), full.getHeight() * aspect];
  image.getResolution = () => [
    full.getWidth() / image.getWidth(),
    (-aspect * full.getHeight()) / image.getHeight(),
    0,
  ];
}

export class FileSource extends GeoTIFF {
  constructor(file, bands, projection) {
    const source = {url: file.url};
    if (file.nodata !== null) {
      source.nodata = Number(file.nodata);
    }
    if (bands.length < file.bands.length) {
      source.bands = bands;
    }
    super({
      sources: [source],
      projection,
      normalize: false, // numbers as they are; the style stretches them
      convertToRGB: 'auto', // of YCbCr
      interpolate: false,
      transition: 0,
      wrapX: false,
    });
    this.aspect = file.aspect;
  }

  async configure_(sources) {
    // the constructor of the base class does not wait for us
    await null;
    for (const image of sources[0]) {
      placeByPixels(image, sources[0][0], this.aspect);
    }
    return super.configure_(sources);
  }

  determineTransformMatrix() {} // placed by pixels
}
