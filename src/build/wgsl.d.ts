import type { Plugin } from 'esbuild';
import type { ShaderSource } from '../gpu/shader.ts';

export function parseShader(name: string, source: string): ShaderSource;
export const wgslPlugin: Plugin;
export const wgslVite: { name: string; load(id: string): Promise<string | null> };
