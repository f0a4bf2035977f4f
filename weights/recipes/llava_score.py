"""Scores of an exported tessera-llava by transformers itself, greedily, and the model card."""
import json
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from llava_data import WHAT, Lessons
from pictures import Drawings, on_white

HERE = Path(__file__).parent
LONGEST = 64  # tokens of an answer
KINDS = ['what', 'all', 'colour', 'where', 'size', 'count', 'yes-no', 'caption', 'compare', 'talk']
SAID = {'what': 'what stands at a place', 'all': 'all things, in order', 'colour': 'the colour of the background',
        'where': 'the place of a thing', 'size': 'big or small', 'count': 'how many things', 'yes-no': 'yes or no',
        'caption': 'caption: all things, places, sizes and the background', 'compare': 'two pictures compared',
        'talk': 'talk without a picture'}


class Answerer:
    def __init__(self, folder):
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    @torch.no_grad()
    def __call__(self, asked, batch=50):
        """Answers to [(pictures, question)]."""
        answers = []
        for k in range(0, len(asked), batch):
            part = asked[k:k + batch]
            prompts = [self.processor.apply_chat_template([{'role': 'user', 'content': [
                *({'type': 'image'} for _ in pictures), {'type': 'text', 'text': question}]}], add_generation_prompt=True)
                for pictures, question in part]
            pictures = [p for pictures, _ in part for p in pictures]
            # the template has <s> already
            inputs = self.processor(images=pictures or None, text=prompts, padding=True, add_special_tokens=False, return_tensors='pt')
            out = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
            said = self.processor.batch_decode(out[:, inputs.input_ids.shape[1]:], skip_special_tokens=True)
            answers += [text.strip() for text in said]
        return answers


def exam(split, wording, seed, count):
    """[(kind, pictures, question, answer)] of scenes, of pairs and of talk; what scenes.js gives for these numbers."""
    for give in ('exam', 'pairs', 'talk'):
        for pixels, questions, *_ in Lessons(seed=seed, split=split, wording=wording, give=give, count=count).take(count):
            pictures = [Image.fromarray(p) for p in pixels]
            yield from ((q['kind'], pictures, q['question'], q['answer']) for q in questions)


def measure(answer, split, wording, seed, count):
    """{kind: [right, asked]}."""
    rows = list(exam(split, wording, seed, count))
    rows.sort(key=lambda r: KINDS.index(r[0]))  # answers of like length together
    given = answer([(pictures, question) for _, pictures, question, _ in rows])
    counts = {kind: [0, 0] for kind in KINDS}
    for (kind, _, _, truth), said in zip(rows, given):
        counts[kind][0] += said == truth
        counts[kind][1] += 1
    return counts


def percent(right, asked):
    return f'{100 * right / asked:.1f} %'


def score(folder, drawings_folder, concepts, expected=None):
    """Measures `folder`, writes its README.md from llava_card.md, and answers to the first scenes to `expected`."""
    answer = Answerer(folder)
    tests = json.loads((HERE / '../world/tests.json').read_text())
    assert tests['concepts'] == [c['name'] for c in concepts], 'the concepts are not those that were fixed for tests'
    seed, count, split = (tests['conversations'][k] for k in ('seed', 'count', 'split'))
    columns = []
    for name, *options in (('unseen', split, 'seen'), ('unseen wordings', split, 'unseen'), ('seen', 'seen', 'seen')):
        counts = measure(answer, *options, seed, count)
        print(name, {k: percent(*v) for k, v in counts.items()}, flush=True)
        columns.append(counts)
    scores = '\n'.join(f'| {SAID[k]} | {" | ".join(percent(*c[k]) for c in columns)} |' for k in KINDS)

    phrases = [c['phrase'] for c in concepts]
    drawings = Drawings(drawings_folder)
    hands = {'**openmoji, never trained on**': (
        [Image.open(drawings_folder / 'openmoji' / f'{i:03d}.png').convert('RGB') for i in range(len(concepts))],
        range(len(concepts)))}
    for hand in ('twemoji', 'noto', 'fluent-emoji', 'emojione', 'fxemoji', 'streamline-emojis'):
        indices, truth = drawings.plain(hand)
        pixels = (on_white(drawings.rgba(indices)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        hands[hand] = [Image.fromarray(p) for p in pixels], truth
    names = []
    for hand, (pictures, truth) in hands.items():
        said = answer([([p], WHAT[0]) for p in pictures])
        right = sum(s == phrases[t] for s, t in zip(said, truth))
        names.append(f'| {hand} | {len(said)} | {percent(right, len(said))} |')
        print(names[-1], flush=True)
    parameters = sum(p.numel() for p in answer.model.parameters())
    size = (folder / 'model.safetensors').stat().st_size
    facts = {'PARAMETERS': f'{parameters:,}', 'MEGABYTES': f'{size / 1e6:.1f}', 'COUNT': str(count), 'SCORES': scores,
             'NAMES': '\n'.join(names), 'PROMPT': WHAT[0]}
    card = (HERE / 'llava_card.md').read_text()
    for key, value in facts.items():
        card = card.replace('{' + key + '}', value)
    (folder / 'README.md').write_text(card)
    if expected:
        write_expected(answer, expected, seed, split)


def write_expected(answer, path, seed, split, count=20):
    """Questions about the first scenes, and the answers of transformers."""
    rows = [(q['kind'], [Image.fromarray(pixels[0])], q['question'], q['answer'])
            for pixels, questions, *_ in Lessons(seed=seed, split=split, wording='seen', give='exam', count=count).take(count)
            for q in questions]
    said = answer([(pictures, question) for _, pictures, question, _ in rows])
    path.write_text(json.dumps([{'kind': kind, 'question': question, 'truth': truth, 'answer': text}
                                for (kind, _, question, truth), text in zip(rows, said)], indent=1) + '\n')
