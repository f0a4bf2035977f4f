// What is given to the wrong place is answered in words, not by what breaks inside. The texts are part of the API.
import { expect, it } from 'vitest';
import {
  AdamW,
  AutoTokenizer,
  CLIPModel,
  compile,
  contrastive_loss,
  cross_entropy,
  grad,
  pipeline,
  run,
  SiglipModel,
  tensor,
  trim,
} from '../../src/index.ts';
import { golden, tinyFolder } from './support.ts';

/** What somebody without types may give. */
// biome-ignore lint/suspicious/noExplicitAny: mistakes have no types
const any = (value?: unknown) => value as any;

it('mistakes at the doors are answered in words', async () => {
  const clip = await CLIPModel.from_pretrained(golden('clip'));
  const siglip = await SiglipModel.from_pretrained(golden('siglip'));
  const tokenizer = await AutoTokenizer.from_pretrained(tinyFolder('clip'));
  const x = tensor([[1, 2]]);
  const input_ids = tensor([[1, 2]], { dtype: 'i32' });
  const task = 'image-feature-extraction';
  const mistakes: Record<string, () => unknown> = {
    'run of a number': () => run([any(1)]),
    'run of one': () => run(any(x)),
    'run of nothing': () => run(any()),
    'run with a signal': () => run([x], any('now')),
    'grad by one': () => grad(x.sum(), any(x)),
    'grad by a number': () => grad(x.sum(), [any(1)]),
    'grad of a number': () => grad(any(1), [x]),
    'compile of a number': () => compile(any(3)),
    'trim of a promise': () => trim(any(Promise.resolve())),
    'a task on a number': () => pipeline(task, any(5)),
    'a task on an object': () => pipeline(task, any({})),
    'a task on no files': () => pipeline(task, []),
    'a task with no options': () => pipeline(task, tinyFolder('clip'), any(null)),
    'a task that is a tensor': () => pipeline(any(x)),
    'a model of nothing': () => CLIPModel.from_pretrained(any()),
    'a model in a type': () => CLIPModel.from_pretrained(golden('clip'), any('f16')),
    'a model of no config': () => CLIPModel.from_config(any()),
    'no ids': () => clip.get_text_features(any({})),
    'no inputs': () => clip.get_text_features(any()),
    'ids by themselves': () => clip.get_text_features(any(input_ids)),
    'ids in a list': () => clip.text_model.forward({ input_ids: any([[1]]) }),
    'a mask in a list': () => clip.get_text_features({ input_ids, attention_mask: any([[1, 1]]) }),
    'no pixels': () => clip.get_image_features(any({})),
    'nothing at all': () => clip.forward(any({})),
    "no ids for SigLIP's": () => siglip.get_text_features(any({})),
    "no pixels for SigLIP's": () => siglip.get_image_features(any()),
    'a number for a text': () => tokenizer(any(5)),
    'a number among texts': () => tokenizer([any(5)]),
    'no text': () => tokenizer(any()),
    'an id to decode': () => tokenizer.decode(any(5)),
    'nothing to decode': () => tokenizer.decode(any()),
    'one parameter': () => new AdamW(any(x)),
    'no parameters': () => new AdamW(any()),
    'a parameter that is a number': () => new AdamW([any(1)]),
    'a loss that is a number': () => new AdamW([tensor([1])]).step(any(5)),
    'no target': () => cross_entropy(x, any()),
    'no logits': () => contrastive_loss(any()),
  };
  const answers: string[] = [];
  for (const [what, make] of Object.entries(mistakes)) {
    const answer = await Promise.resolve()
      .then(make)
      .then(
        () => 'no error',
        (error: Error) => error.message,
      );
    answers.push(`${what}: ${answer}`);
  }
  for (const model of [clip, siglip]) model.dispose();
  expect(`\n${answers.join('\n')}\n`).toMatchInlineSnapshot(`
    "
    run of a number: [run] tensors[0]: got 1, want a tensor
    run of one: [run] tensors: got a Tensor, want an array of tensors: [x, ...]
    run of nothing: [run] tensors: got nothing, want an array of tensors
    run with a signal: [run] options: got 'now', want an object, as in { signal }
    grad by one: [grad] wanted: got a Tensor, want an array of tensors: [x, ...]
    grad by a number: [grad] wanted[0]: got 1, want a tensor
    grad of a number: [grad] loss: got 1, want a tensor
    compile of a number: [compile] fn: got 3, want a function of tensors
    trim of a promise: [trim] device: got a Promise, want a Device: await defaultDevice()
    a task on a number: [model] got 5, want a path, an id of the hub (owner/name), a Folder, or Files
    a task on an object: [model] got an object, want a path, an id of the hub (owner/name), a Folder, or Files
    a task on no files: [model] got an array [], want a path, an id of the hub (owner/name), a Folder, or Files
    a task with no options: [pipeline] options: got null, want an object, as in { dtype: 'f16' }
    a task that is a tensor: [pipeline] unknown task: got a Tensor, want one of image-feature-extraction, image-text-to-text, text-generation, text-to-image, zero-shot-image-classification
    a model of nothing: [model] got nothing, want a path, an id of the hub (owner/name), a Folder, or Files
    a model in a type: [CLIPModel] options: got 'f16', want an object, as in { dtype: 'f16' }
    a model of no config: [CLIPModel] config: got nothing, want an object, as in { text_config: {} }
    no ids: [text] input_ids: got nothing, want a tensor
    no inputs: [text] inputs: got nothing, want an object, as in { input_ids }
    ids by themselves: [text] inputs: got a Tensor, want an object, as in { input_ids }
    ids in a list: [text] input_ids: got an array [[1]], want a tensor: tensor([[1]])
    a mask in a list: [text] attention_mask: got an array [[1, 1]], want a tensor: tensor([[1, 1]])
    no pixels: [vision] pixel_values: got nothing, want a tensor
    nothing at all: [text] input_ids: got nothing, want a tensor
    no ids for SigLIP's: [text] input_ids: got nothing, want a tensor
    no pixels for SigLIP's: [vision] inputs: got nothing, want an object, as in { pixel_values }
    a number for a text: [tokenizer] texts: got 5, want a text or a list of texts
    a number among texts: [tokenizer] got 5, want a text
    no text: [tokenizer] texts: got nothing, want a text or a list of texts
    an id to decode: [tokenizer] ids: got 5, want a list of numbers
    nothing to decode: [tokenizer] ids: got nothing, want a list of numbers
    one parameter: [AdamW] params: got a Tensor, want an array of tensors: [x, ...]
    no parameters: [AdamW] params: got nothing, want an array of tensors
    a parameter that is a number: [AdamW] params[0]: got 1, want a tensor
    a loss that is a number: [grad] loss: got 5, want a tensor
    no target: [cross_entropy] target: got nothing, want a tensor
    no logits: [contrastive_loss] logits: got nothing, want a tensor
    "
  `);
});
