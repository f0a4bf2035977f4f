// The command line: arguments to tasks, and printing. Exit codes: 0 done, 1 something failed, 2 what was given is wrong,
// 130 interrupted.
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { UserError } from '../io/error.ts';
import { addClassify } from './classify.ts';
import { addInspect } from './inspect.ts';
import { addStart } from './start.ts';

/** From package.json, put in by the build. */
declare const TESSERA_VERSION: string;

function commandLine(): Command {
  const program = new Command('tessera');
  program
    .description('Runs multimodal models straight from Hugging Face safetensors, on WebGPU.')
    .version(TESSERA_VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride() // throws instead of ending the process
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) })
    .addHelpText(
      'after',
      `
Examples:
  tessera start                                    see the model that ships with the package at work
  tessera classify photo.jpg --labels "a cat,a dog"
  tessera inspect model.safetensors

Exit codes: 0 done, 1 something failed, 2 what was given is wrong.`,
    );
  addClassify(program);
  addInspect(program);
  addStart(program);
  for (const command of program.commands) command.option('--debug', 'show where an error comes from');
  return program;
}

const oneLine = (text: string) => text.trim().replace(/\s*\n\s*/g, ' ');

/** Runs the command line; gives its exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const program = commandLine();
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has printed what it has to say
    const isUsers = error instanceof UserError;
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const text = argv.includes('--debug') ? (stack ?? message) : isUsers ? oneLine(message) : message;
    process.stderr.write(`error: ${text}\n`);
    return isUsers ? 2 : 1;
  }
}

// a reader that has seen enough (`| head`) is no failure
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});
// No handler for SIGINT: the signal ends the process at once (130 to a shell), where exiting in order would run the destructors
// of a driver that still compiles.
process.exitCode = await main(process.argv.slice(2));
