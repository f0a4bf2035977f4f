// What a side of a comparison does: ours and each peer alike, in a process of its own (side.ts).
import type { Case } from './cases.ts';

export type Engine = {
  /** The adapter it runs on, in the words of `AdapterDescription.name`. */
  adapter: string;
  prepare(c: Case, sets: number): Promise<Work>;
};

/** One case with its inputs on the device. */
export type Work = {
  /** Starts the kernel on a set of inputs, without waiting for the device. Its result is given back unread. */
  call(set: number): unknown;
  /** Settles when everything that was started is done. */
  wait(): Promise<unknown>;
  /** The result on the first set, row-major in the shape of the case. */
  result(): Promise<Float32Array>;
  dispose(): void;
};

export const SIDES = ['tessera', 'jax-js', 'tfjs', 'onnxruntime'] as const;
export type SideName = (typeof SIDES)[number];
export type PeerName = Exclude<SideName, 'tessera'>;
