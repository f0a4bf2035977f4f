// The public API, nothing but exports.
export { compile } from './exec/compile.ts';
export { trim } from './exec/replay.ts';
export { defaultDevice, run, setDevice } from './exec/run.ts';
export { formatTrace, setTrace } from './exec/trace.ts';
export { Device, DeviceLost } from './gpu/device.ts';
export { CLIPModel, CLIPTextModel, CLIPVisionModel } from './models/clip.ts';
export { SiglipModel, SiglipTextModel, SiglipVisionModel } from './models/siglip.ts';
export * from './ops/index.ts';
export { grad } from './tensor/grad.ts';
export { Tensor } from './tensor/tensor.ts';
