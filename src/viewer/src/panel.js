// What the panel says of the file, and what it lets one choose.
import {range, shown, stretches} from './style.js';

const CHANNELS = ['Red', 'Green', 'Blue'];
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? value.toPrecision(3) : value} ${UNITS[unit]}`;
}

function number(value, digits = 7) {
  if (!Number.isFinite(value)) {
    return Number.isNaN(value) ? 'NaN' : String(value);
  }
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

function add(parent, tag, text = '', attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  parent.append(element);
  return element;
}

function find(id) {
  return document.getElementById(id);
}

export class Panel {
  constructor(page) {
    this.page = page;
    this.file = page.file;
    document.title = `${this.file.name} · lazycog view`;
    find('name').textContent = this.file.name;
    this.describe();
    this.listLevels();
    this.offerBands();
    this.offerStretch();
    find('show-grid').addEventListener('change', () => page.overlay());
    find('fit').addEventListener('click', () => page.fit());
    find('zoom-in').addEventListener('click', () => page.zoomBy(2));
    find('zoom-out').addEventListener('click', () => page.zoomBy(0.5));
    find('one-to-one').addEventListener('click', () =>
      page.move(page.map.getView().getCenter(), 1),
    );
  }

  describe() {
    const {file} = this;
    const facts = {
      size: `${file.width} × ${file.height}, ${file.bands.length} × ${file.dtype}`,
      file: `${bytes(file.size)}, ${file.compression}, ${file.interleave}`,
      CRS: file.crs ?? 'none',
      nodata: file.nodata ?? (file.masked ? 'mask' : 'none'),
    };
    const list = find('facts');
    for (const [name, text] of Object.entries(facts)) {
      add(list, 'dt', name);
      add(list, 'dd', text);
    }
  }

  listLevels() {
    const body = find('levels');
    this.file.levels.forEach((level, index) => {
      const row = add(body, 'tr');
      const tile = `${level.tile_width} × ${level.tile_height}`;
      const cells = [index, `${level.width} × ${level.height}`, tile, level.tiles];
      for (const cell of [...cells, bytes(level.data_bytes)]) {
        add(row, 'td', cell);
      }
    });
  }

  bandName(band) {
    const {description} = this.file.bands[band - 1];
    return description ? `${band} ${description}` : `${band}`;
  }

  offerBands() {
    const {look} = this.page;
    const mode = find('mode');
    mode.value = look.mode;
    mode.disabled = this.file.bands.length === 1;
    mode.addEventListener('change', () => {
      look.mode = mode.value;
      this.changed();
    });
    this.showBands();
  }

  showBands() {
    const {look} = this.page;
    const box = find('bands');
    box.replaceChildren();
    shown(look).forEach((chosen, index) => {
      const title = look.mode === 'colour' ? CHANNELS[index] : 'Band';
      const label = add(box, 'label', title);
      const select = add(label, 'select', '', {'data-channel': index});
      this.file.bands.forEach((_, each) =>
        add(select, 'option', this.bandName(each + 1), {value: each + 1}),
      );
      select.value = chosen;
      select.addEventListener('change', () => {
        if (look.mode === 'colour') {
          look.channels = look.channels.with(index, Number(select.value));
        } else {
          look.grey = Number(select.value);
        }
        this.changed();
      });
    });
  }

  offerStretch() {
    const {look} = this.page;
    const select = find('stretch');
    for (const [name, text] of stretches(this.file)) {
      add(select, 'option', text, {value: name});
    }
    select.value = look.stretch;
    select.addEventListener('change', () => {
      look.stretch = select.value;
      this.changed();
    });
    this.showLimits();
  }

  showLimits() {
    const {look} = this.page;
    const box = find('limits');
    box.replaceChildren();
    look.ranges.forEach((limits, index) => {
      const row = add(box, 'div');
      add(row, 'span', look.mode === 'colour' ? CHANNELS[index][0] : '');
      limits.forEach((limit, end) => {
        const words = [end ? 'white' : 'black', look.mode === 'colour' ? CHANNELS[index] : ''];
        const input = add(row, 'input', '', {
          type: 'number',
          step: 'any',
          'aria-label': words.join(' ').trim(),
        });
        input.value = number(limit, 6);
        input.addEventListener('change', () => {
          if (input.value !== '' && Number.isFinite(Number(input.value))) {
            limits[end] = Number(input.value);
            look.stretch = 'own';
            find('stretch').value = 'own';
            this.page.restyle();
          }
        });
      });
    });
    const estimated = shown(look).some((band) => this.file.bands[band - 1].statistics?.estimated);
    find('estimated').hidden = !estimated;
  }

  changed() {
    const {look} = this.page;
    if (look.stretch !== 'own' || look.ranges.length !== shown(look).length) {
      look.ranges = shown(look).map((band) => range(this.file, band, look.stretch));
    }
    this.showBands();
    this.showLimits();
    this.page.readFile();
    this.page.showPointer();
  }

  showLevel(index, scale) {
    document.body.dataset.level = index;
    [...find('levels').rows].forEach((row, each) => {
      row.classList.toggle('shown', each === index);
    });
    const text = scale >= 1 ? `${number(scale, 3)} : 1` : `1 : ${number(1 / scale, 3)}`;
    find('scale').textContent = `level ${index}, ${text}`;
  }

  showPointer(found) {
    const box = find('pointer');
    box.replaceChildren();
    if (!found) {
      return;
    }
    const {column, row, level, values} = found;
    add(box, 'p', `column ${Math.floor(column)}, row ${Math.floor(row)}`);
    this.showPlace(box, column, row);
    if (!values) {
      add(box, 'p', `level ${level}: loading`);
    } else if (!values.length) {
      add(box, 'p', `level ${level}: no data`);
    } else {
      this.showValues(box, values);
    }
  }

  showPlace(box, column, row) {
    if (!this.file.transform) {
      return;
    }
    const [a, b, c, d, e, f] = this.file.transform;
    const x = a * column + b * row + c;
    const y = d * column + e * row + f;
    add(box, 'p', `x ${number(x, 9)}, y ${number(y, 9)}`);
  }

  showValues(box, values) {
    const table = add(box, 'table');
    for (const {band, value} of values) {
      const {scale, offset, unit} = this.file.bands[band - 1];
      const row = add(table, 'tr');
      add(row, 'td', this.bandName(band));
      add(row, 'td', number(value), {class: 'value'});
      const scaled = scale !== 1 || offset !== 0;
      const meant = scaled ? `= ${number(value * scale + offset, 5)}` : '';
      add(row, 'td', [meant, unit ?? ''].join(' ').trim());
    }
  }
}
