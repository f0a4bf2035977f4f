// biome-ignore-all lint/suspicious/noControlCharactersInRegex: first bytes of files are control characters
// What a file is, told from its first bytes: for errors that say what was given instead of what was wanted.

/** [first bytes as Latin-1, what it is]; the first match counts. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'an empty file'],
  [/^.{8}\{/s, 'a safetensors file'],
  [/^\x89PNG\r\n\x1a\n/, 'a PNG picture'],
  [/^\xff\xd8\xff/, 'a JPEG picture'],
  [/^RIFF.{4}WEBP/s, 'a WebP picture'],
  [/^GIF8[79]a/, 'a GIF picture'],
  [/^.{4}ftyp(?:hei|hev|mif1|msf1)/s, 'a HEIC picture'],
  [/^.{4}ftypavi/s, 'an AVIF picture'],
  [/^(?:\xff\x0a|.{4}JXL )/s, 'a JPEG XL picture'],
  [/^(?:.{4}jP {2}|\xff\x4f\xff\x51)/s, 'a JPEG 2000 picture'],
  [/^(?:II\*\0|MM\0\*)/, 'a TIFF picture'],
  [/^BM.{4}\0\0\0\0/s, 'a BMP picture'],
  [/^\0\0\x01\0/, 'an icon file'],
  [/^8BPS/, 'a Photoshop file'],
  [/^\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<svg[\s>]/s, 'an SVG drawing'],
  [/^%PDF/, 'a PDF document'],
  [/^RIFF.{4}WAVE/s, 'a WAV recording'],
  [/^fLaC/, 'a FLAC recording'],
  [/^OggS/, 'an Ogg recording'],
  [/^(?:ID3|\xff[\xf2\xf3\xfb])/, 'an MP3 recording'],
  [/^.{4}ftyp/s, 'an MP4 or QuickTime video'],
  [/^\x1aE\xdf\xa3/, 'a WebM or Matroska video'],
  [/^version https:\/\/git-lfs/, 'a git-lfs pointer'],
  [/^(?:PK\x03\x04|PK\x05\x06)/, 'a zip archive'],
  [/^\x80[\x02-\x05]/, 'a Python pickle'],
  [/^GGUF|^ggml|^tjgg/, 'a GGUF file'],
  [/^\x89HDF\r\n/, 'an HDF5 file'],
  [/^\x93NUMPY/, 'a NumPy array'],
  [/^\x1f\x8b/, 'a gzip archive'],
  [/^\s*<(?:!doctype\s+html|html|head|body)/i, 'an HTML page'],
  [/^\s*<[?!a-z]/i, 'an XML document'],
  [/^\s*[{[]\s*["\]}\d{[-]/, 'a JSON text'],
  [/^\0+$/, 'a file of zero bytes'],
];

/** How many bytes from the start of a file `sniff` looks at. */
export const SNIFF_BYTES = 512;

/** What the file that begins with `head` is ("a GIF picture"), or undefined. */
export function sniff(head: Uint8Array): string | undefined {
  let text = '';
  for (const byte of head.subarray(0, SNIFF_BYTES)) text += String.fromCharCode(byte);
  return KINDS.find(([magic]) => magic.test(text))?.[1];
}

const AGAIN = 'the download went wrong; get the file again';

/** Why such a file can not be read as weights, and what to do. */
export const NOT_WEIGHTS: Readonly<Record<string, string>> = {
  'a zip archive':
    'this is a PyTorch file (pickle in a zip), which can run code when opened. Use the .safetensors file of the model, ' +
    'or convert it once in Python: safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors")',
  'a Python pickle':
    'this is an old PyTorch file (pickle), which can run code when opened. Use the .safetensors file of the model, ' +
    'or convert it once in Python: safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors")',
  'a git-lfs pointer': 'this is a git-lfs pointer, not the weights: run "git lfs pull" in its folder',
  'an HTML page': `this is an HTML page (an error or a login page?): ${AGAIN}`,
  'an XML document': `this is an XML document (an error page?): ${AGAIN}`,
  'a JSON text': 'this is a JSON text, not weights. For a sharded model give the folder',
  'an empty file': `the file is empty: ${AGAIN}`,
  'a file of zero bytes': `the file holds only zeros: ${AGAIN}`,
  'a GGUF file':
    'this is a GGUF file (llama.cpp): take the original model in safetensors; it is quantised while it loads',
};
