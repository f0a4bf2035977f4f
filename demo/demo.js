// The demo page: the shipped model in a worker, a picture and labels from the visitor. dist/ is made by npm run build.
const WEIGHTS = new URL('../weights/', import.meta.url);
const MODEL = ['config', 'preprocessor_config', 'tokenizer', 'tokenizer_config'].map((name) => `${name}.json`);
const FILES = [...MODEL, 'README.md', 'model.safetensors'];
const SHOWN = 8;
const NO_WEBGPU =
  `this browser has no WebGPU${isSecureContext ? '' : ' for this address (it wants https, or localhost)'}. Chrome and Edge have it ` +
  'since 113, Safari since 26, Firefox since 141 (later outside Windows); chrome://gpu says why it may be off.';

const $ = (id) => document.getElementById(id);
function say(text, isBad = false) {
  $('status').textContent = text;
  $('status').className = isBad ? 'bad' : '';
}
function fail(error) {
  $('progress').hidden = true;
  say(`Sorry: ${error?.message ?? error}`, true);
}
addEventListener('error', ({ error }) => fail(error));
addEventListener('unhandledrejection', ({ reason }) => fail(reason));

async function get(path) {
  const response = await fetch(new URL(path, WEIGHTS));
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response;
}

/** A file of the model; `tell` hears how many bytes have come and how many there are. */
async function fetchFile(name, tell) {
  const { body, headers } = await get(`tessera-clip/${name}`);
  const total = Number(headers.get('content-length'));
  const parts = [];
  let loaded = 0;
  for (const reader = body.getReader(); ; ) {
    const { value } = await reader.read();
    if (!value) return new File(parts, name);
    parts.push(value);
    tell((loaded += value.length), total);
  }
}

async function load() {
  if (!navigator.gpu) throw new Error(NO_WEBGPU);
  const { pipeline } = await import('../dist/browser.js');
  const show = (what, share) => {
    say(`${what} ${Math.round(100 * share)} %`);
    $('progress').value = share;
  };
  const tell = (name) => (loaded, total) =>
    name === 'model.safetensors' && total > 0 && show('Fetching the model:', loaded / total);
  const files = await Promise.all(FILES.map((name) => fetchFile(name, tell(name))));
  const progress_callback = ({ progress }) => progress && show('Loading it:', progress / 100);
  const classify = await pipeline('zero-shot-image-classification', files, { worker: true, progress_callback });
  $('progress').hidden = true;
  return classify;
}

const loading = load();
let picture;
let turn = 0; // the last wish counts

async function update() {
  const labels = $('labels')
    .value.split(/[,\n]/)
    .flatMap((label) => label.trim() || []);
  if (!picture) return;
  const mine = ++turn;
  const classify = await loading;
  if (mine !== turn) return;
  if (labels.length === 0) {
    $('bars').replaceChildren();
    return say('Type some labels: what may the picture show?');
  }
  if ($('bars').childElementCount === 0) say('Looking at it; the first look takes longest ...');
  const start = performance.now();
  const found = await classify(picture, [...new Set(labels)]);
  if (mine !== turn) return;
  const { name, software } = classify.model.device.adapter;
  const where = `${name}${software ? ' (software: slower than a GPU)' : ''}`;
  say(`${(performance.now() - start).toFixed(0)} ms on ${where}, in a worker of this page`);
  $('bars').replaceChildren(...found.slice(0, SHOWN).flatMap(row));
}

/** Three cells: label, bar, percent. */
function row({ label, score }) {
  const cells = ['span', 'i', 'span'].map((tag) => document.createElement(tag));
  cells[0].textContent = label;
  cells[1].style.width = `${100 * score}%`;
  cells[2].textContent = `${(100 * score).toFixed(1)} %`;
  return cells;
}

function show(blob) {
  if (!blob) return;
  picture = blob;
  const image = new Image();
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  image.alt = 'the picture';
  $('drop').replaceChildren(image);
  update().catch(fail);
}

$('drop').onclick = () => $('file').click();
$('file').onchange = () => show($('file').files[0]);
addEventListener('paste', ({ clipboardData }) => show(clipboardData.files[0]));
addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').classList.add('over');
});
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  show(event.dataTransfer.files[0]);
});
let waiting;
$('labels').oninput = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => update().catch(fail), 300);
};

const concepts = await (await get('world/concepts.json')).json();
$('labels').value = concepts.map(({ phrase }) => phrase).join(', ');
const samples = Object.keys(await (await get('world/openmoji/index.json')).json());
for (const file of samples) {
  const button = document.createElement('button');
  const image = new Image();
  image.src = new URL(`world/openmoji/${file}`, WEIGHTS);
  image.alt = file.replace(/\.png$/, '').replaceAll('-', ' ');
  button.append(image);
  button.onclick = async () => show(await (await get(`world/openmoji/${file}`)).blob());
  $('samples').append(button);
}
show(await (await get(`world/openmoji/${samples[0]}`)).blob());
