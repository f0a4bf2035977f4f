// Runs one bundle in a browser: in the page, or in a module worker, whose script is this file too.

/** { result } or { error }: a failed import or `main` is an answer like any other. */
async function run(url, options) {
  try {
    const { main } = await import(url);
    return { result: (await main(options)) ?? null };
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  }
}

export const page = run;

export const worker = (url, options) =>
  new Promise((resolve) => {
    const started = new Worker(import.meta.url, { type: 'module' });
    started.onmessage = ({ data }) => resolve(data);
    started.onerror = ({ message }) => resolve({ error: message });
    started.postMessage([url, options]);
  });

if (typeof document === 'undefined') onmessage = async ({ data }) => postMessage(await run(...data));
