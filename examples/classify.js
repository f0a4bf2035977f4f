// What a picture shows, the same file in Node, Bun and Deno: node examples/classify.js photo.jpg "a cat" "a dog"
import process from 'node:process';
import { pipeline } from 'tessera-webgpu';

const [picture, ...labels] = process.argv.slice(2);
const classify = await pipeline('zero-shot-image-classification');
for (const { label, score } of await classify(picture, labels)) console.log(`${(100 * score).toFixed(1)} %  ${label}`);
classify.dispose();
