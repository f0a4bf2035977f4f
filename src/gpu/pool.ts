// Whole buffers, handed out and taken back by size class. One buffer per tensor: WebGPU tracks hazards per buffer.

export type Buffer = {
  readonly id: number;
  readonly gpu: GPUBuffer;
  readonly size: number;
  /** Holders beside the first, and what is told when the last gives it back. */
  shares: number;
  freed?: (() => void) | undefined;
  /** What the driver said when it was made, until that is known to be nothing. */
  unproven?: Promise<GPUError | null> | undefined;
  /** The driver had no memory for it: it is not handed out again. */
  isBroken?: boolean;
};

const USAGE = {
  storage: 0x80 | 0x4 | 0x8, // STORAGE | COPY_SRC | COPY_DST
  uniform: 0x40 | 0x8, // UNIFORM | COPY_DST
  staging: 0x1 | 0x8, // MAP_READ | COPY_DST
};
export type BufferKind = keyof typeof USAGE;

/** The sizes that are made: eight steps to each doubling, at least 256 bytes, so little is wasted and much fits again. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 3);
  return Math.ceil(bytes / step) * step;
}

/** There is no room for what was asked: nothing of it was kept, and what was there before still is. */
export class OutOfMemory extends Error {
  override name = 'OutOfMemory';
}

/** Bytes as people read them. */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const MAX_FREE = 2 ** 29; // bytes that wait; what comes back beyond is destroyed

export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free = new Map<string, Buffer[]>();
  #nextId = 1;
  #holds = 0;
  readonly #kept: { buffer: Buffer; kind: BufferKind }[] = [];
  /** Bytes that may be in use, those that wait included. */
  readonly limit: number;
  /** Buffers made so far, those in use and those waiting, with their bytes. */
  readonly stats = { created: 0, createdBytes: 0, live: 0, liveBytes: 0, free: 0, freeBytes: 0 };

  constructor(device: GPUDevice, limit = Number.POSITIVE_INFINITY) {
    this.#device = device;
    this.limit = limit;
  }

  acquire(bytes: number, kind: BufferKind = 'storage'): Buffer {
    const limit = this.#device.limits.maxBufferSize;
    const size = Math.min(sizeClass(bytes), Math.floor(limit / 16) * 16);
    if (bytes > size) {
      throw new RangeError(`[gpu] a buffer of ${bytes} bytes: the device's largest is ${limit}; split the tensor`);
    }
    const waiting = this.#free.get(kind + size)?.pop();
    if (!waiting) this.#makeRoom(size);
    this.stats.live++;
    this.stats.liveBytes += size;
    if (waiting) {
      this.stats.free--;
      this.stats.freeBytes -= size;
      return waiting;
    }
    this.stats.created++;
    this.stats.createdBytes += size;
    this.#device.pushErrorScope('out-of-memory');
    const gpu = this.#device.createBuffer({ size, usage: USAGE[kind] });
    const unproven = this.#device.popErrorScope().catch(() => null); // of a lost device others tell
    return { id: this.#nextId++, gpu, size, shares: 0, unproven };
  }

  #makeRoom(bytes: number): void {
    const { stats, limit } = this;
    if (stats.liveBytes + stats.freeBytes + bytes > limit) this.trim();
    if (stats.liveBytes + bytes <= limit) return;
    const left = megabytes(Math.max(0, limit - stats.liveBytes));
    throw new OutOfMemory(
      `[gpu] out of memory: ${megabytes(bytes)} more do not fit, ${left} of max_memory ${megabytes(limit)} are left`,
    );
  }

  /** Throws OutOfMemory if the driver had no memory for one of these buffers; awaits nothing where all are known. */
  async proven(buffers: readonly Buffer[]): Promise<void> {
    const made = buffers.filter((buffer) => buffer.unproven);
    if (made.length === 0) return;
    const errors = await Promise.all(made.map((buffer) => buffer.unproven));
    for (const [i, buffer] of made.entries()) {
      if (errors[i]) buffer.isBroken = true;
      else buffer.unproven = undefined;
    }
    const error = errors.find((e) => e);
    if (error)
      throw new OutOfMemory(`[gpu] out of memory, with ${megabytes(this.stats.liveBytes)} in use: ${error.message}`);
  }

  /** Until the function it gives is called, buffers that are released are kept as they are: work that reads them is under way. */
  hold(): () => void {
    this.#holds++;
    return () => {
      if (--this.#holds === 0) for (const { buffer, kind } of this.#kept.splice(0)) this.release(buffer, kind);
    };
  }

  /** Another holder of a buffer in use: it is free again once each has released it. */
  share(buffer: Buffer): Buffer {
    buffer.shares++;
    return buffer;
  }

  release(buffer: Buffer, kind: BufferKind = 'storage'): void {
    if (buffer.shares > 0) {
      buffer.shares--;
      return;
    }
    buffer.freed?.();
    buffer.freed = undefined;
    if (this.#holds > 0) {
      this.#kept.push({ buffer, kind });
      return;
    }
    this.stats.live--;
    this.stats.liveBytes -= buffer.size;
    if (buffer.isBroken || this.stats.freeBytes + buffer.size > MAX_FREE) {
      buffer.gpu.destroy();
      return;
    }
    this.stats.free++;
    this.stats.freeBytes += buffer.size;
    const key = kind + buffer.size;
    const waiting = this.#free.get(key);
    if (waiting) waiting.push(buffer);
    else this.#free.set(key, [buffer]);
  }

  /** Destroys the buffers that wait. */
  trim(): void {
    for (const buffers of this.#free.values()) for (const buffer of buffers) buffer.gpu.destroy();
    this.#free.clear();
    this.stats.free = 0;
    this.stats.freeBytes = 0;
  }
}
