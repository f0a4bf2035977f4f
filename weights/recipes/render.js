// Renders the drawings of every concept by every hand: `node render.js OUT`.
// OUT/drawings.rgba holds 64x64 straight-alpha RGBA pictures one after another, OUT/drawings.json what each is
// ({hand, style, concept, main}); OUT/openmoji/NNN.png are the held-out pictures, 256x256 on white.
// The drawings that scenes are made of go to ../world/drawings: one palette PNG a hand, 40x40 a concept, 20 in a row.
// Styles: plain, pen (a black line around every shape), filled (white inside the outline of a black icon).
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Packages are looked up from the working directory, so that they can live outside the repository.
const require = createRequire(join(process.cwd(), 'package.json'));
const sharp = require('sharp');

const SIZE = 64;
const [CELL, COLUMNS] = [40, 20];
/** Hands that draw in scenes. Fluent Emoji is Fluent Emoji Flat with shading, three times as large. */
const ATLASES = ['twemoji', 'noto', 'noto-v1', 'fluent-emoji-flat', 'emojione', 'fxemoji', 'streamline-emojis'];
const TRAIN = ['twemoji', 'noto', 'noto-v1', 'fluent-emoji', 'fluent-emoji-flat', 'emojione', 'fxemoji'];
const HELD_OUT = 'openmoji';
/** Sets without a drawing of every emoji, and icons in one colour: they teach what stays when colours go. */
const MORE = ['streamline-emojis', 'fluent-emoji-high-contrast', 'emojione-monotone'];
const ICONS = ['game-icons', 'icon-park', 'tabler', 'lucide', 'hugeicons', 'mdi', 'ph', 'iconoir'];
/** Names that mean something else in sets of icons: a computer mouse, a shell of an operating system. */
const OTHER = new Set(
  ('mouse shell football cup bug worm web hound tea letter chips sweet bath palm phone cock clock drop hat leaf wave ' +
    'cooking wine ring frying-pan baby-bird serpent home key tree star eye fish melon fir-tree train').split(' '),
);
const VARIANTS = ['', '-fill', '-filled', '-duotone', '-outline', '-01', '-02', '-1', '-2'];

/** FxEmoji names that are not the Unicode name without hyphens. */
const FXEMOJI = {
  'cat-face': 'cat', cat: 'catside', 'dog-face': 'dog', dog: 'dogside', 'tiger-face': 'tiger',
  tiger: 'tigerside', 'mouse-face': 'mouse', mouse: 'mouseside', 'pig-face': 'pig', pig: 'pigside',
  rabbit: 'bunnyside', 'rabbit-face': 'bunny', ewe: 'sheep', wolf: 'wolfface', panda: 'pandaface',
  'two-hump-camel': 'bactriancamel', camel: 'dromedarycamel', dragon: 'dragonside', 'dragon-face': 'dragonhead',
  'spouting-whale': 'spurtingwhale', 'lady-beetle': 'ladybeetle', 'evergreen-tree': 'evergreen',
  'four-leaf-clover': 'fourleafclover', eggplant: 'aubergine', 'ear-of-corn': 'earofmaize',
  'hot-pepper': 'chilipepper', pizza: 'sliceofpizza', 'soft-ice-cream': 'softicecream', 'honey-pot': 'honeypot',
  'hot-beverage': 'hotbeverage', 'fork-and-knife': 'forkknife', 'kitchen-knife': 'hocho',
  house: 'housebuilding', castle: 'europeancastle', 'snow-capped-mountain': 'snowmountains',
  locomotive: 'steamlocomotive', 'vertical-traffic-light': 'verticaltrafficlight',
  'sun-with-face': 'sunwithface', sun: 'whitesun', star: 'whitemediumstar',
  'snowman-without-snow': 'snowmanwithoutsnow', 'jack-o-lantern': 'jackolantern', 'red-heart': 'redheart',
  'running-shoe': 'mensshoe', 't-shirt': 'mansshirt', backpack: 'schoolsatchel', 'gem-stone': 'gem',
  'wrapped-gift': 'present', 'soccer-ball': 'soccerball', basketball: 'basketballandhoop',
  'game-die': 'gamedie', 'mobile-phone': 'cellphone', laptop: 'personalcomputer', 'water-wave': 'wave',
  'red-apple': 'redapple', 'baby-chick': 'babychick', 'alarm-clock': 'alarmclock', scissors: 'blackscissors',
  bell: 'ringingbell', locked: 'lock', dagger: 'daggerknife',
};

/** Streamline's names that differ from Unicode's. */
const STREAMLINE = {
  bee: 'honeybee', headphones: 'headphone', backpack: 'school-backpack', orange: 'tangerine', die: 'game-dice',
  'police car': 'oncoming-police-car', caterpillar: 'bug', taxi: 'oncoming-taxi', wine: 'wine-glass',
  train: 'railway-car', house: 'house-with-garden', bus: 'minibus', key: 'locked-with-key', envelope: 'e-mail',
};

const emojiData = require('unicode-emoji-json/data-by-emoji.json');
const icons = Object.fromEntries(
  [...TRAIN, ...MORE, ...ICONS, HELD_OUT].map((hand) => [hand, require(`@iconify-json/${hand}/icons.json`)]),
);

const slugOf = (emoji) => (emojiData[emoji] ?? emojiData[emoji.replace('\ufe0f', '')]).slug.replaceAll('_', '-');

/** The icon of the first of these names in a set, aliases followed, or undefined where it has none. */
function iconNamed(hand, ...names) {
  const set = icons[hand];
  const name = names.map((n) => set.aliases?.[n]?.parent ?? n).find((n) => set.icons[n]);
  if (!name) return undefined;
  const icon = set.icons[name];
  return { body: icon.body, width: icon.width ?? set.width ?? 16, height: icon.height ?? set.height ?? 16 };
}

/** The icon of an emoji in a set. */
function iconOf(hand, emoji) {
  const slug = slugOf(emoji);
  return hand === 'fxemoji' ? iconNamed(hand, FXEMOJI[slug], slug.replaceAll('-', '')) : iconNamed(hand, slug);
}

/** Every icon of a set that goes by a name of the concept. */
function iconsOf(hand, { emoji, name, synonyms, also_drawn_as }) {
  const emojis = [emoji, ...also_drawn_as].map(slugOf);
  const words = [name, ...synonyms].map((word) => word.replaceAll(' ', '-'));
  if (hand === 'streamline-emojis') {
    const endings = ['', '-1', '-2', '-3'].flatMap((n) => [n, `-face${n}`]);
    const names = [...emojis, ...words.slice(0, 1), STREAMLINE[name]].flatMap((word) => endings.map((e) => word + e));
    return [...new Set(names)].map((n) => iconNamed(hand, n)).filter(Boolean);
  }
  if (!ICONS.includes(hand)) return emojis.map((slug) => iconNamed(hand, slug)).filter(Boolean);
  const names = [...new Set([...emojis.slice(0, 1), ...words])].filter((word) => !OTHER.has(word));
  return names.flatMap((word) => VARIANTS.map((end) => iconNamed(hand, word + end))).filter(Boolean).slice(0, 6);
}

/** White where black lines enclose a region: what the border of the picture can not reach. */
function filled(rgba) {
  const outside = new Uint8Array(SIZE * SIZE);
  const queue = [];
  const visit = (x, y) => {
    const at = y * SIZE + x;
    if (x < 0 || y < 0 || x >= SIZE || y >= SIZE || outside[at] || rgba[4 * at + 3] > 100) return;
    outside[at] = 1;
    queue.push([x, y]);
  };
  for (let i = 0; i < SIZE; i++) for (const j of [0, SIZE - 1]) visit(i, j), visit(j, i);
  for (let next = queue.pop(); next; next = queue.pop()) {
    const [x, y] = next;
    visit(x + 1, y), visit(x - 1, y), visit(x, y + 1), visit(x, y - 1);
  }
  const out = Buffer.from(rgba);
  for (let at = 0; at < outside.length; at++) {
    if (outside[at]) continue;
    const alpha = rgba[4 * at + 3];
    for (let c = 0; c < 3; c++) out[4 * at + c] = Math.round((rgba[4 * at + c] * alpha + 255 * (255 - alpha)) / 255);
    out[4 * at + 3] = 255;
  }
  return out;
}

/** SVG bytes; `outline` is a black pen (fraction of the width) that every shape without one of its own inherits. */
function svg({ body, width, height }, size, outline = 0) {
  const pen = outline * width;
  const inner = outline ? `<g stroke="#000" stroke-width="${pen}" stroke-linejoin="round">${body}</g>` : body;
  const box = `${-pen / 2} ${-pen / 2} ${width + pen} ${height + pen}`;
  return Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ' +
      `width="${size}" height="${size}" viewBox="${box}">${inner}</svg>`,
  );
}

const out = process.argv[2] ?? 'drawings';
const concepts = JSON.parse(await readFile(new URL('../world/concepts.json', import.meta.url), 'utf8'));
await mkdir(join(out, HELD_OUT), { recursive: true });
const rows = [];
const pixels = [];
const render = (icon, outline) => sharp(svg(icon, SIZE, outline)).ensureAlpha().raw().toBuffer();
const keep = (buffer, row) => {
  pixels.push(buffer);
  rows.push(row);
};
for (const [concept, entry] of concepts.entries()) {
  const { emoji, name, also_drawn_as } = entry;
  let hands = 0;
  for (const hand of TRAIN) {
    for (const [i, e] of [emoji, ...also_drawn_as].entries()) {
      const icon = iconOf(hand, e);
      if (!icon) continue;
      if (i === 0) hands++;
      for (const [style, outline] of Object.entries({ plain: 0, pen: 0.025 })) {
        keep(await render(icon, outline), { hand, style, concept, main: i === 0 });
      }
    }
  }
  if (hands < 5) throw new Error(`[render] ${name} ${emoji}: got ${hands} training hands, want at least 5`);
  for (const hand of [...MORE, ...ICONS]) {
    for (const [i, icon] of iconsOf(hand, entry).entries()) {
      const plain = await render(icon, 0);
      keep(plain, { hand, style: 'plain', concept, main: i === 0 });
      if (hand !== MORE[0]) keep(filled(plain), { hand, style: 'filled', concept, main: i === 0 });
    }
  }
  const icon = iconOf(HELD_OUT, emoji);
  if (!icon) throw new Error(`[render] ${name} ${emoji}: not drawn by ${HELD_OUT}; choose another emoji`);
  await sharp(svg(icon, 256)).flatten({ background: '#fff' }).png({ compressionLevel: 9, palette: true })
    .toFile(join(out, HELD_OUT, `${String(concept).padStart(3, '0')}.png`));
}
const missing = {};
const atlases = new URL('../world/drawings/', import.meta.url);
await mkdir(atlases, { recursive: true });
for (const hand of ATLASES) {
  const cells = await Promise.all(
    concepts.map(async (entry, i) => {
      const icon = MORE.includes(hand) ? iconsOf(hand, entry)[0] : iconOf(hand, entry.emoji);
      if (!icon) return undefined;
      const input = await sharp(svg(icon, CELL)).png().toBuffer();
      return { input, left: (i % COLUMNS) * CELL, top: Math.floor(i / COLUMNS) * CELL };
    }),
  );
  missing[hand] = concepts.filter((_, i) => !cells[i]).map(({ name }) => name);
  const [width, height] = [COLUMNS * CELL, Math.ceil(concepts.length / COLUMNS) * CELL];
  await sharp({ create: { width, height, channels: 4, background: '#0000' } })
    .composite(cells.filter(Boolean))
    .png({ palette: true, colours: 256, dither: 0.3, compressionLevel: 9, effort: 10 })
    .toFile(fileURLToPath(new URL(`${hand}.png`, atlases)));
}
await writeFile(new URL('index.json', atlases), `${JSON.stringify(missing, null, 2)}\n`);
await writeFile(join(out, 'drawings.rgba'), Buffer.concat(pixels));
await writeFile(join(out, 'drawings.json'), JSON.stringify(rows));
const have = new Set(rows.map((r) => `${r.hand} ${r.concept}`));
for (const hand of [...TRAIN, ...MORE, ...ICONS]) {
  console.log(`${hand}: ${concepts.filter((_, c) => have.has(`${hand} ${c}`)).length} concepts`);
}
console.log(`${rows.length} drawings of ${concepts.length} concepts`);
