// The tiles of the level that is shown, drawn over the map.

const LABEL_SIDE = 72; // tiles that are smaller on the screen have no label
const LEAST_SIDE = 6; // and these no lines

export function drawGrid(page, {z, index, grid}) {
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
  const all = grid.getFullTileRange(z);
  const seen = grid.getTileRangeForExtentAndZ(visible, z);
  const resolution = view.getResolution();
  const side = grid.getTileCoordExtent([z, 0, 0]);
  if ((side[2] - side[0]) / resolution < LEAST_SIDE) {
    return;
  }
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'top';
  for (let row = Math.max(all.minY, seen.minY); row <= Math.min(all.maxY, seen.maxY); row++) {
    for (
      let column = Math.max(all.minX, seen.minX);
      column <= Math.min(all.maxX, seen.maxX);
      column++
    ) {
      const box = grid.getTileCoordExtent([z, column, row]);
      const left = (box[0] - visible[0]) / resolution;
      const top = (visible[3] - box[3]) / resolution;
      const right = (Math.min(box[2], page.extent[2]) - visible[0]) / resolution;
      const bottom = (visible[3] - Math.max(box[1], page.extent[1])) / resolution;
      drawTile(pen, [left, top, right - left, bottom - top], `${index} · ${row}, ${column}`);
    }
  }
}

function drawTile(pen, [left, top, width, height], label) {
  pen.lineWidth = 3;
  pen.strokeStyle = 'rgba(0, 0, 0, 0.45)';
  pen.strokeRect(left, top, width, height);
  pen.lineWidth = 1;
  pen.strokeStyle = '#ffd24d';
  pen.strokeRect(left, top, width, height);
  if (width < LABEL_SIDE || height < LABEL_SIDE / 2) {
    return;
  }
  const wide = pen.measureText(label).width;
  pen.fillStyle = 'rgba(0, 0, 0, 0.6)';
  pen.fillRect(left + 2, top + 2, wide + 8, 16);
  pen.fillStyle = '#ffd24d';
  pen.fillText(label, left + 6, top + 5);
}
