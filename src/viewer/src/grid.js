// The tiles of the level that is shown, drawn over the map.

const LABEL_SIDE = 72; // tiles of which less is on the screen have no label
const LEAST_SIDE = 6; // smaller ones have no lines

export function drawGrid(page, {index}) {
  const canvas = document.getElementById('grid');
  const [width, height] = page.screen();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  if (!document.getElementById('show-grid').checked) {
    return;
  }
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  const view = page.map.getView();
  const visible = view.calculateExtent([width, height]);
  const resolution = view.getResolution();
  const level = page.file.levels[index];
  // tiles or strips as they are in the file, in screen pixels
  const across = (level.tile_width * page.file.width) / level.width / resolution;
  const down =
    (level.tile_height * page.file.height * page.aspect) / level.height / resolution;
  if (Math.min(across, down) < LEAST_SIDE) {
    return;
  }
  const left = -visible[0] / resolution;
  const top = (visible[3] - page.extent[3]) / resolution;
  const right = left + page.extent[2] / resolution;
  const bottom = top + page.extent[3] / resolution;
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'top';
  for (const [row, y] of seen(top, bottom, down, height)) {
    for (const [column, x] of seen(left, right, across, width)) {
      const box = [x, y, Math.min(x + across, right) - x, Math.min(y + down, bottom) - y];
      drawTile(pen, box, `${index} · ${row}, ${column}`);
    }
  }
}

// Number and place of every cell between two sides of the image that is on the screen.
function* seen(start, stop, side, screen) {
  const first = Math.max(0, Math.floor(-start / side));
  for (let cell = first; start + cell * side < Math.min(stop, screen); cell++) {
    yield [cell, start + cell * side];
  }
}

function drawTile(pen, [left, top, width, height], label) {
  pen.lineWidth = 3;
  pen.strokeStyle = 'rgba(0, 0, 0, 0.45)';
  pen.strokeRect(left, top, width, height);
  pen.lineWidth = 1;
  pen.strokeStyle = '#ffd24d';
  pen.strokeRect(left, top, width, height);
  // where the corner is off the screen, the label is at the screen's edge
  const x = Math.max(left, 0);
  const y = Math.max(top, 0);
  if (left + width - x < LABEL_SIDE || top + height - y < LABEL_SIDE / 2) {
    return;
  }
  const wide = pen.measureText(label).width;
  pen.fillStyle = 'rgba(0, 0, 0, 0.6)';
  pen.fillRect(x + 2, y + 2, wide + 8, 16);
  pen.fillStyle = '#ffd24d';
  pen.fillText(label, x + 6, y + 5);
}
