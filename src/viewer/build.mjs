// Bundle the page and its decoder into the package, with the licences of what is inside.
import {build} from 'esbuild';
import {existsSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const assets = join(here, '../lazycog/_assets');
const own = (name) => join(here, 'src', name);

// geotiff.js starts its workers from a blob and decodes zstd with WebAssembly from a data
// URL. The page allows scripts of its own server alone, so that both are replaced.
const replaced = [
  [/^\.\/worker\/create\.js$/, own('create_worker.js')],
  [/^zstddec(\/stream)?$/, own('zstd.js')],
];
// What a worker decodes, the page need not.
const inWorker = /^\.\/(lzw|jpeg|deflate|packbits|lerc|zstd)\.js$/;

function replace(pairs) {
  return {
    name: 'replace',
    setup({onResolve}) {
      for (const [filter, path] of pairs) {
        onResolve({filter}, ({importer}) =>
          importer.includes('/geotiff/') ? {path} : undefined,
        );
      }
    },
  };
}

async function bundle(entry, out, pairs) {
  const {metafile} = await build({
    entryPoints: [own(entry)],
    outfile: join(assets, out),
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    legalComments: 'none', // the licences stand beside
    metafile: true,
    plugins: [replace(pairs)],
  });
  return Object.entries(metafile.outputs)
    .filter(([name]) => name.endsWith('.js'))
    .flatMap(([, {inputs}]) =>
      Object.entries(inputs)
        .filter(([, {bytesInOutput}]) => bytesInOutput > 0)
        .map(([name]) => name),
    );
}

function licences(inputs) {
  const packages = new Set();
  for (const name of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(name);
    if (found) {
      packages.add(found[1]);
    }
  }
  return [...packages].sort().map((name) => {
    const folder = join(here, 'node_modules', name);
    const {version, license} = JSON.parse(readFileSync(join(folder, 'package.json')));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? readFileSync(join(folder, file), 'utf8') : '';
    const full = text.trim() || readFileSync(fallback(name), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${full}\n`;
  });
}

function fallback(name) {
  const path = join(here, 'licences', `${name.replace('/', '_')}.txt`);
  if (!existsSync(path)) {
    throw new Error(`${name} ships no licence: put its text into ${path}`);
  }
  return path;
}

const inputs = [
  ...(await bundle('main.js', 'view.js', [...replaced, [inWorker, own('nothing.js')]])),
  ...(await bundle('decoder.js', 'decoder.js', replaced)),
];
const rule = `\n${'-'.repeat(80)}\n\n`;
writeFileSync(join(assets, 'LICENSES.txt'), licences(inputs).join(rule));
