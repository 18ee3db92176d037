// A worker of our own server, where geotiff.js would make one from a blob.
export default function create() {
  return new Worker('decoder.js');
}
