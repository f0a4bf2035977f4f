// The command line: arguments to tasks, and printing. Exit codes: 0 done, 1 something failed, 2 what was given is wrong,
// 130 interrupted.
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { OutOfMemory } from '../gpu/pool.ts';
import { UserError } from '../io/error.ts';
import { addChat } from './chat.ts';
import { addClassify } from './classify.ts';
import { addDoctor } from './doctor.ts';
import { addEmbed } from './embed.ts';
import { addGenerate } from './generate.ts';
import { addImagine } from './imagine.ts';
import { addInspect } from './inspect.ts';
import { addInvert } from './invert.ts';
import { addAsk, addDescribe } from './look.ts';
import { complain, flush, isHangUp } from './output.ts';
import { addPlan } from './plan.ts';
import { addSearch } from './search.ts';
import { addServe } from './serve.ts';
import { addStart } from './start.ts';
import { oneLine } from './text.ts';
import { addTrain } from './train.ts';

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
  tessera start                                    see the models that ship with the package at work
  tessera classify photo.jpg --labels "a cat,a dog"
  tessera imagine "a drawing of a dog" -o dog.png
  tessera ask drawing.png "what is on the left?"
  tessera search photos "a dog on a beach"
  tessera chat --model HuggingFaceTB/SmolLM2-135M-Instruct
  tessera inspect model.safetensors

Exit codes: 0 done, 1 something failed, 2 what was given is wrong.`,
    );
  addAsk(program);
  addChat(program);
  addClassify(program);
  addDescribe(program);
  addDoctor(program);
  addEmbed(program);
  addGenerate(program);
  addImagine(program);
  addInspect(program);
  addInvert(program);
  addPlan(program);
  addSearch(program);
  addServe(program);
  addStart(program);
  addTrain(program);
  for (const command of program.commands) command.option('--debug', 'show where an error comes from');
  return program;
}

/** `help clasify` is answered as `clasify` is: commander would print all of its help and fail without a word. */
const isTopic = ({ commands }: Command, name?: string) => commands.some((command) => command.name() === name);

/** Runs the command line; gives its exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const program = commandLine();
  try {
    const args = argv[0] === 'help' && !isTopic(program, argv[1]) ? argv.slice(1) : argv;
    if (args.length === 0) program.outputHelp();
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

// No handler for SIGINT: the signal ends the process at once (130 to a shell), where exiting in order would run the destructors
// of a driver that still compiles.
process.exitCode = await main(process.argv.slice(2));
