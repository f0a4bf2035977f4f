// The package's Node entry is CommonJS in an ESM package and fails; this file of it works and has no types.
declare module 'wgsl_reflect/wgsl_reflect.module.js' {
  export class WgslParser {
    // biome-ignore lint/suspicious/noExplicitAny: a tree of syntax, read by its astNodeType
    parse(source: string): any[];
  }
}
