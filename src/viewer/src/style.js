// From numbers to colours.

const SIGMAS = 2;
const COLOURS = 3;
const FEW_BANDS = 4;

// Numbers of the bands that are called so, by interpretation or name. Without them, the
// first of three or four, as in other pictures of lazycog; null where there are more.
function colourBands({bands}) {
  const found = ['red', 'green', 'blue'].map(
    (colour) =>
      1 +
      bands.findIndex(
        ({colorinterp, description}) =>
          colorinterp === colour || description?.toLowerCase() === colour,
      ),
  );
  if (!found.includes(0)) {
    return found;
  }
  return bands.length === COLOURS || bands.length === FEW_BANDS ? [1, 2, 3] : null;
}

function typeRange(dtype) {
  const bits = Number(/\d+$/.exec(dtype)?.[0]);
  if (dtype === 'bool') {
    return [0, 1];
  }
  if (dtype.startsWith('uint')) {
    return [0, 2 ** bits - 1];
  }
  return dtype.startsWith('int') ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : null;
}

export function initialLook(file) {
  const colours = colourBands(file);
  const asIs = colours && file.dtype === 'uint8';
  const cut = file.bands.some(({percentiles}) => percentiles);
  const look = {
    mode: colours ? 'colour' : 'grey',
    channels: colours ?? (file.bands.length >= COLOURS ? [1, 2, 3] : [1, 1, 1]),
    grey: 1,
    stretch: asIs ? 'type' : cut ? 'percentiles' : 'sigma',
    ranges: [],
  };
  look.ranges = shown(look).map((band) => range(file, band, look.stretch));
  return look;
}

// Numbers of the bands that are shown.
export function shown(look) {
  return look.mode === 'colour' ? look.channels : [look.grey];
}

// What becomes black and white.
export function range(file, band, stretch) {
  const {statistics, percentiles} = file.bands[band - 1];
  const type = typeRange(file.dtype);
  if (stretch === 'percentiles' && percentiles && percentiles[0] < percentiles[1]) {
    return percentiles;
  }
  if (stretch === 'type' && type) {
    return type;
  }
  if (!statistics) {
    return type ?? [0, 1];
  }
  const {minimum, maximum, mean, stddev} = statistics;
  if (stretch === 'sigma' && stddev > 0) {
    return [
      Math.max(minimum, mean - SIGMAS * stddev),
      Math.min(maximum, mean + SIGMAS * stddev),
    ];
  }
  return [minimum, maximum];
}

export function stretches({dtype, bands}) {
  const all = [
    ['percentiles', '2 % to 98 % of the pixels'],
    ['sigma', `mean ± ${SIGMAS} standard deviations`],
    ['minmax', 'minimum to maximum'],
    ['type', `all of ${dtype}`],
    ['own', 'own limits'],
  ];
  const offered = {
    type: typeRange(dtype),
    percentiles: bands.some(({percentiles}) => percentiles),
  };
  return all.filter(([name]) => offered[name] ?? true);
}

// Few bands are read together; of many, those that are shown.
export function loadedBands(file, look) {
  if (file.bands.length <= FEW_BANDS) {
    return file.bands.map((_, index) => index + 1);
  }
  return [...new Set(shown(look))].sort((one, other) => one - other);
}

export function colour(file, look, bands) {
  const opaque = opacity(file, bands);
  if (file.colormap && look.mode === 'grey') {
    const palette = ['palette', ['band', 1], file.colormap.map(css)];
    return opaque === 1 ? {color: palette} : {color: ['case', ['>', opaque, 0], palette, [0, 0, 0, 0]]};
  }
  const variables = {};
  const channels = shown(look).map((band, index) => {
    const [low, high] = look.ranges[index];
    variables[`low${index}`] = low;
    variables[`span${index}`] = high - low || 1;
    const raw = ['band', bands.indexOf(band) + 1];
    const scaled = ['/', ['-', raw, ['var', `low${index}`]], ['var', `span${index}`]];
    return ['clamp', scaled, 0, 1];
  });
  const [red, green = red, blue = red] = channels;
  return {variables, color: ['array', red, green, blue, opaque]};
}

// Of alpha, or of the band that OpenLayers makes from nodata and mask.
function opacity(file, bands) {
  if (file.masked || file.nodata !== null) {
    return ['/', ['band', bands.length + 1], 255];
  }
  const alpha = file.bands.findIndex(({colorinterp}) => colorinterp === 'alpha') + 1;
  const place = bands.indexOf(alpha) + 1;
  return place ? ['/', ['band', place], typeRange(file.dtype)?.[1] ?? 1] : 1;
}

function css([red, green, blue, alpha]) {
  return `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
}
