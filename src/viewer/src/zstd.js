// Zstandard without WebAssembly, under the name that geotiff.js asks for.
import {decompress} from 'fzstd';

export class ZSTDDecoder {
  async init() {}

  decode(bytes) {
    const decoded = decompress(bytes);
    // the whole buffer is taken for the pixels
    return decoded.byteLength === decoded.buffer.byteLength ? decoded : decoded.slice();
  }
}
