// What a bundle can do wrong, for the tests of the launcher.
export async function main({ fault, kept }: { fault: string; kept: string }): Promise<unknown> {
  if (fault === 'throws') throw new TypeError('a fault of the bundle');
  if (fault === 'hangs') for (;;);
  console.log('a line on stdout');
  return fault === 'nothing' ? undefined : { kept };
}
