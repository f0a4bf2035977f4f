// The peers ask `navigator.gpu`; here it is the adapter that everybody runs on.
import { describeAdapter, requestAdapter } from '../../src/gpu/host.ts';

/** Makes `navigator.gpu` and WebGPU's constants; gives the adapter's name. */
export async function provideNavigator(adapter: string): Promise<string> {
  const { globals } = await import('webgpu');
  for (const [name, value] of Object.entries(globals)) (globalThis as Record<string, unknown>)[name] ??= value;
  const { gpu, info } = await requestAdapter({ adapter });
  const shared = {
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
    getPreferredCanvasFormat: () => 'rgba8unorm',
    requestAdapter: async () => (await requestAdapter({ adapter, gpu })).adapter,
  };
  Object.defineProperty(globalThis, 'navigator', { value: { gpu: shared, userAgent: 'node' }, configurable: true });
  return info.name;
}

/** The name of what a GPU object finds first. */
export async function nameOf(gpu: GPU): Promise<string> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  return adapter ? describeAdapter(adapter.info, 'dawn').name : 'no adapter';
}
