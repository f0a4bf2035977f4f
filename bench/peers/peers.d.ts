// The peers are installed apart (npm ci --prefix bench/peers), so nothing is known of their types here.
declare module '@jax-js/jax';
declare module '@tensorflow/tfjs-core';
declare module '@tensorflow/tfjs-backend-webgpu';
declare module 'onnxruntime-node';
