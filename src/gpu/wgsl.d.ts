// A .wgsl file is imported as data (src/build/wgsl.js).
declare module '*.wgsl' {
  const source: import('./shader.ts').ShaderSource;
  export default source;
}
