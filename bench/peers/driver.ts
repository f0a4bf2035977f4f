// onnxruntime-node asks the system's Vulkan loader for a driver; these variables of the environment say which.
import { existsSync } from 'node:fs';
import { inCache, keep, locate, unpack } from '../../src/gpu/software.ts';

const LAVAPIPE = ['lvp_icd.json', 'lvp_icd.x86_64.json'].map((name) => `/usr/share/vulkan/icd.d/${name}`);

/** The environment in which a process finds that driver and no other; {} for a GPU. */
export async function driverEnvironment(adapter: string): Promise<Record<string, string>> {
  const only = (file: string) => ({ VK_ICD_FILENAMES: file, VK_DRIVER_FILES: file });
  if (adapter === 'swiftshader') {
    const packages = await locate();
    const folder = await inCache(undefined, `swiftshader-${packages.version}`, async (at, repair) => {
      await keep(at, () => unpack(packages.archive('swiftshader.tar.br')), repair);
      return at;
    });
    return { ...only(`${folder}/vk_swiftshader_icd.json`), TESSERA_VULKAN_LOADER: `${folder}/libvulkan.so.1` };
  }
  const lavapipe = LAVAPIPE.find(existsSync);
  return adapter === 'llvmpipe' && lavapipe ? only(lavapipe) : {};
}
