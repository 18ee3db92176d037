// Runs in workers: decodes tiles as geotiff.js asks for it.
import {getDecoder} from '../node_modules/geotiff/dist-module/compression/index.js';

globalThis.addEventListener('message', async ({data}) => {
  const {compression, decoderParameters, buffer, ...job} = data;
  try {
    const decoder = await getDecoder(compression, decoderParameters);
    const decoded = await decoder.decode(buffer);
    globalThis.postMessage({decoded, ...job}, [decoded]);
  } catch (error) {
    globalThis.postMessage({error: String(error?.message ?? error), ...job});
  }
});
