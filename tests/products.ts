// Finds products that are added in float code of WGSL: `a * b + c`, `c - a * b`, `c += a * b`. Some compilers make one
// rounding of it and others two, so the result would depend on the adapter; `fma(a, b, c)` says what is meant.
// What counts as integer code, where such sums are index arithmetic and exact, is read off the factors of the product:
// literals with u, i or no point, variables and functions declared (or initialised) as integers. A product with a float
// factor, or with none that is known, is found. Not followed: a product that is named first and added in another statement.
import { WgslParser } from 'wgsl_reflect/wgsl_reflect.module.js';

type Kind = 'int' | 'float' | 'unknown';
// biome-ignore lint/suspicious/noExplicitAny: the parser's tree of syntax
type Node = any;

const FIRST_ARGUMENT =
  /^(abs|min|max|clamp|fma|select|dot|floor|ceil|sqrt|exp|log|sin|cos|tanh|sign|transpose|subgroup\w+)$/;

class File {
  readonly #types = new Map<string, Node>(); // aliases
  readonly #structs = new Map<string, Map<string, Kind>>();
  readonly #functions = new Map<string, Kind>();
  readonly #globals = new Map<string, Kind | Map<string, Kind>>();

  constructor(tree: readonly Node[], library: readonly Node[]) {
    for (const node of [...library, ...tree]) if (is(node, 'alias')) this.#types.set(node.name, node.type);
    for (const node of [...library, ...tree]) {
      if (is(node, 'struct')) {
        this.#structs.set(node.name, new Map(node.members.map((m: Node) => [m.name, this.kindOfType(m.type)])));
      } else if (is(node, 'function')) this.#functions.set(node.name, this.kindOfType(node.returnType));
    }
    for (const node of tree) {
      if (is(node, 'var') || is(node, 'const') || is(node, 'override')) this.declare(this.#globals, node);
    }
  }

  declare(names: Map<string, Kind | Map<string, Kind>>, node: Node): void {
    const struct = node.type && this.#structs.get(node.type.name);
    names.set(node.name, struct ?? (node.type ? this.kindOfType(node.type) : this.kind(node.value, names)));
  }

  kindOfType(type: Node): Kind {
    if (!type) return 'unknown';
    if (type.name === 'array' || type.name === 'ptr') return this.kindOfType(type.format ?? type.type);
    const alias = this.#types.get(type.name);
    if (alias) return this.kindOfType(alias);
    const name = `${type.name} ${type.format?.name ?? ''}`;
    if (/f32|f16|vec\df|mat/.test(name)) return 'float';
    return /u32|i32|vec\d[ui]/.test(name) ? 'int' : 'unknown';
  }

  /** int or float, of an expression. */
  kind(node: Node, names: ReadonlyMap<string, Kind | Map<string, Kind>>): Kind {
    if (!node) return 'unknown';
    if (is(node, 'binaryOp')) {
      const sides = [this.kind(node.left, names), this.kind(node.right, names)];
      return sides.includes('float') ? 'float' : sides.includes('int') ? 'int' : 'unknown';
    }
    if (is(node, 'unaryOp')) return this.kind(node.right, names);
    if (is(node, 'callExpr')) {
      if (/^unpack/.test(node.name)) return 'float';
      if (/^pack/.test(node.name)) return 'int';
      return (
        this.#functions.get(node.name) ?? (FIRST_ARGUMENT.test(node.name) ? this.kind(node.args[0], names) : 'unknown')
      );
    }
    if (node.type) return this.kindOfType(node.type); // literals, constructors, bitcast
    const found = names.get(node.name) ?? this.#globals.get(node.name);
    if (found instanceof Map) return found.get(node.postfix?.value) ?? 'unknown';
    return found ?? 'unknown';
  }

  /** The statements of a function that add a product. */
  search(fn: Node, source: string): string[] {
    const names = new Map<string, Kind | Map<string, Kind>>();
    for (const argument of fn.args) this.declare(names, argument);
    const found: string[] = [];
    const isProduct = (node: Node): boolean =>
      is(node, 'unaryOp')
        ? isProduct(node.right)
        : node?.operator === '*' && !!node.left && this.kind(node, names) !== 'int';
    const visit = (node: Node, statement: Node): void => {
      if (Array.isArray(node)) for (const child of node) visit(child, child?.start > 0 ? child : statement);
      if (!node || typeof node !== 'object' || Array.isArray(node)) return;
      if (is(node, 'let') || is(node, 'var') || is(node, 'const')) this.declare(names, node);
      const sum = /^[+-]$/.test(node.operator) && node.left && [node.left, node.right].some(isProduct);
      const assignment = /^[+-]=$/.test(node.operator) && isProduct(node.value);
      if (sum || assignment)
        found.push(`${fn.name}: ${source.slice(statement.start, statement.end).replace(/\s+/g, ' ')}`);
      for (const [name, child] of Object.entries(node))
        if (name !== 'type' && name !== 'initializer') visit(child, statement);
    };
    visit(fn.body, fn);
    return found;
  }
}

const is = (node: Node, kind: string) => node?.astNodeType === kind;

/** Each as `function: statement`. `library`: the text of files whose declarations the source calls. */
export function addedProducts(source: string, library = ''): string[] {
  const tree = new WgslParser().parse(source);
  const file = new File(tree, library ? new WgslParser().parse(library) : []);
  return tree.filter((node: Node) => is(node, 'function')).flatMap((fn: Node) => file.search(fn, source));
}
