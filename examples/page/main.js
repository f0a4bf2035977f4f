// What a picture shows, in a page. README.md one folder up says how Vite and esbuild bundle it.
import { pipeline } from 'tessera-webgpu';

const FILES = ['config', 'preprocessor_config', 'tokenizer', 'tokenizer_config'].map((name) => `${name}.json`);
const get = async (name) => new File([await (await fetch(`tessera-clip/${name}`)).blob()], name);
const files = await Promise.all([...FILES, 'model.safetensors', 'README.md'].map(get)); // an id of the hub will do as well
const classify = await pipeline('zero-shot-image-classification', files, { worker: true });

const [input, output] = [document.querySelector('input'), document.querySelector('output')];
input.disabled = false;
input.onchange = async () => {
  const found = await classify(input.files[0], ['an owl', 'a penguin', 'a steam train']);
  output.textContent = found.map(({ label, score }) => `${(100 * score).toFixed(1)} %  ${label}`).join('\n');
};
