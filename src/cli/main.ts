// The command line: arguments to tasks, and printing.
import process from 'node:process';
import { Command } from 'commander';
import { addChat } from './chat.ts';
import { addClassify } from './classify.ts';
import { addDoctor } from './doctor.ts';
import { addEmbed } from './embed.ts';
import { execute } from './execute.ts';
import { addGenerate } from './generate.ts';
import { addImagine } from './imagine.ts';
import { addInspect } from './inspect.ts';
import { addInvert } from './invert.ts';
import { addAsk, addDescribe } from './look.ts';
import { version } from './options.ts';
import { addPlan } from './plan.ts';
import { addSearch } from './search.ts';
import { addServe } from './serve.ts';
import { addStart } from './start.ts';
import { addTrain } from './train.ts';

function commandLine(): Command {
  const program = new Command('tessera');
  program
    .description('Runs multimodal models straight from Hugging Face safetensors, on WebGPU.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
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
  return program;
}

// No handler for SIGINT: the signal ends the process at once (130 to a shell), where exiting in order would run the destructors
// of a driver that still compiles.
process.exitCode = await execute(commandLine(), process.argv.slice(2));
