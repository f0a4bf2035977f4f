// Runs a command line of commander. Exit codes: 0 done, 1 something failed, 2 what was given is wrong, 130 interrupted.
import process from 'node:process';
import { type Command, CommanderError } from 'commander';
import { OutOfMemory } from '../gpu/pool.ts';
import { UserError } from '../io/error.ts';
import { complain, flush, isHangUp } from './output.ts';
import { oneLine } from './text.ts';

/** A command and all below it. */
const allOf = (command: Command): Command[] => [command, ...command.commands.flatMap(allOf)];

/** `help clasify` is answered as `clasify` is: commander would print all of its help and fail without a word. */
const isTopic = ({ commands }: Command, name?: string) => commands.some((command) => command.name() === name);

/** Whatever goes wrong is one line on stderr; gives the exit code. */
export async function execute(program: Command, argv: readonly string[]): Promise<number> {
  for (const command of allOf(program)) {
    command.exitOverride(); // throws instead of ending the process
    command.configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) });
    if (command.commands.length === 0) command.option('--debug', 'show where an error comes from');
  }
  try {
    const args = argv[0] === 'help' && !isTopic(program, argv[1]) ? argv.slice(1) : argv;
    if (args.length === 0 && program.commands.length > 0) program.outputHelp();
    else {
      await program.parseAsync(args, { from: 'user' }).catch((error: Partial<CommanderError>) => {
        if (error.exitCode !== 0) throw error; // else help or the version was asked for
      });
    }
    await flush();
    return 0;
  } catch (error) {
    if (isHangUp(error)) return 0;
    if (error instanceof CommanderError) return 2; // it has printed what it has to say
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    if (argv.includes('--debug')) process.stderr.write(`error: ${stack ?? message}\n`);
    else complain(`error: ${message}`);
    return error instanceof UserError || error instanceof OutOfMemory ? 2 : 1;
  }
}
