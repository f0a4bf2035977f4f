// WGSL that more than one kernel needs, by the name of each declaration.
import extreme from '../../shaders/lib/extreme.wgsl';
import index from '../../shaders/lib/index.wgsl';
import math from '../../shaders/lib/math.wgsl';
import pieces from '../../shaders/lib/pieces.wgsl';
import random from '../../shaders/lib/random.wgsl';
import row from '../../shaders/lib/row.wgsl';
import storage from '../../shaders/lib/storage.wgsl';

export const library: Record<string, string> = Object.assign(
  {},
  ...[storage, index, math, extreme, pieces, random, row].map((file) => file.declarations),
);
