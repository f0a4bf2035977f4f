// Renders the drawings of every concept by every hand: `node render.js OUT`.
// OUT/drawings.rgba holds 64x64 straight-alpha RGBA pictures one after another, OUT/drawings.json what each is
// ({hand, style, concept, main}); OUT/openmoji/NNN.png are the held-out pictures, 256x256 on white.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Packages are looked up from the working directory, so that they can live outside the repository.
const require = createRequire(join(process.cwd(), 'package.json'));
const sharp = require('sharp');

const SIZE = 64;
const TRAIN = ['twemoji', 'noto', 'noto-v1', 'fluent-emoji', 'fluent-emoji-flat', 'emojione', 'fxemoji'];
const HELD_OUT = 'openmoji';

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

const emojiData = require('unicode-emoji-json/data-by-emoji.json');
const icons = Object.fromEntries(
  [...TRAIN, HELD_OUT].map((hand) => [hand, require(`@iconify-json/${hand}/icons.json`)]),
);

/** The icon of an emoji in a set, aliases followed, or undefined where the set has none. */
function iconOf(hand, emoji) {
  const slug = (emojiData[emoji] ?? emojiData[emoji.replace('\ufe0f', '')]).slug.replaceAll('_', '-');
  const set = icons[hand];
  const names = hand === 'fxemoji' ? [FXEMOJI[slug], slug.replaceAll('-', '')] : [slug];
  const name = names.map((n) => set.aliases?.[n]?.parent ?? n).find((n) => set.icons[n]);
  if (!name) return undefined;
  const icon = set.icons[name];
  return { body: icon.body, width: icon.width ?? set.width ?? 16, height: icon.height ?? set.height ?? 16 };
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
const draw = async (icon, outline, row) => {
  pixels.push(await sharp(svg(icon, SIZE, outline)).ensureAlpha().raw().toBuffer());
  rows.push(row);
};
for (const [concept, { emoji, name, also_drawn_as }] of concepts.entries()) {
  let hands = 0;
  for (const hand of TRAIN) {
    for (const [i, e] of [emoji, ...also_drawn_as].entries()) {
      const icon = iconOf(hand, e);
      if (!icon) continue;
      if (i === 0) hands++;
      for (const [style, outline] of Object.entries({ plain: 0, pen: 0.025 })) {
        await draw(icon, outline, { hand, style, concept, main: i === 0 });
      }
    }
  }
  if (hands < 5) throw new Error(`[render] ${name} ${emoji}: got ${hands} training hands, want at least 5`);
  const icon = iconOf(HELD_OUT, emoji);
  if (!icon) throw new Error(`[render] ${name} ${emoji}: not drawn by ${HELD_OUT}; choose another emoji`);
  await sharp(svg(icon, 256)).flatten({ background: '#fff' }).png({ compressionLevel: 9, palette: true })
    .toFile(join(out, HELD_OUT, `${String(concept).padStart(3, '0')}.png`));
}
await writeFile(join(out, 'drawings.rgba'), Buffer.concat(pixels));
await writeFile(join(out, 'drawings.json'), JSON.stringify(rows));
const have = new Set(rows.map((r) => `${r.hand} ${r.concept}`));
for (const hand of TRAIN) {
  const missing = concepts.filter((_, c) => !have.has(`${hand} ${c}`)).map((c) => c.name);
  console.log(`${hand}: ${concepts.length - missing.length} concepts; missing: ${missing.join(', ')}`);
}
console.log(`${rows.length} drawings of ${concepts.length} concepts`);
