"""Scores of an exported tessera-clip by transformers itself, the held-out pictures that ship, and the model card."""
import json
import random
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from clip_model import Clip
from pictures import Drawings, Scenes, normalise, on_white

HERE = Path(__file__).parent
SHIPPED = 20


@torch.no_grad()
def score(folder, drawings_folder, concepts, prompt, seed, expected):
    """Measures `folder`, writes its README.md and world/openmoji, and the answers on those pictures to `expected`."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    prompts = [prompt.format(c['phrase']) for c in concepts]
    words = tokenizer(prompts, padding=True, return_tensors='pt')
    files = [drawings_folder / 'openmoji' / f'{i:03d}.png' for i in range(len(concepts))]
    pixels = processor([Image.open(f).convert('RGB') for f in files], return_tensors='pt').pixel_values
    answer = model(**words, pixel_values=pixels)
    logits = answer.logits_per_image
    ours = plain_logits(folder, words.input_ids, pixels)
    difference = (ours - logits).abs().max().item()
    assert difference < 1e-3, f'clip_model.py and transformers differ by {difference}'
    unseen = recalls(logits, range(len(concepts)))

    seen, drawings = {}, Drawings(drawings_folder)
    for hand in sorted({r['hand'] for r in drawings.rows}):
        indices, truth = drawings.plain(hand)
        pictures = normalise(on_white(drawings.rgba(indices)))
        seen[hand] = recalls(model(**words, pixel_values=pictures).logits_per_image, truth)
    total = sum(n for _, _, n in seen.values())
    seen_all = [sum(s[k] * s[2] for s in seen.values()) / total for k in (0, 1)] + [total]

    tests = json.loads((HERE / '../world/tests.json').read_text())
    assert tests['concepts'] == [c['name'] for c in concepts], 'the concepts are not those that were fixed for tests'

    def among_captions(split, wording):
        """Logits of all scenes of a split against all of their captions, and the captions."""
        count = tests['scenes']['count']
        given = dict(seed=tests['scenes']['seed'], split=split, count=count, wording=wording, detail='full')
        lines, pixels = zip(*Scenes(given).raw(count))
        captions = [line['caption'] for line in lines]
        inputs = processor([Image.fromarray(p) for p in pixels], return_tensors='pt')
        return model(**tokenizer(captions, padding=True, return_tensors='pt'), **inputs).logits_per_image, captions

    scene_logits, captions = among_captions(tests['scenes']['split'], 'seen')
    each = range(len(captions))
    scenes = recalls(scene_logits, each)
    scene_rows = [('the same, captions to pictures', recalls(scene_logits.T, each)),
                  ('the same in wordings never trained on', recalls(among_captions(tests['scenes']['split'], 'unseen')[0], each)),
                  ('scenes of combinations trained on', recalls(among_captions('seen', 'seen')[0], each))]
    print(f'scenes: {scenes}, {scene_rows}')

    print(f'unseen hand (openmoji): R@1 {unseen[0]:.1f} %, R@5 {unseen[1]:.1f} % of {unseen[2]}')
    print(f'plain torch and transformers differ by at most {difference:.2g} in a logit')
    print(f'training hands: R@1 {seen_all[0]:.1f} %, R@5 {seen_all[1]:.1f} % of {total}; {seen}')
    shipped = sorted(random.Random(seed + 1).sample(range(len(concepts)), SHIPPED))
    names = ship(shipped, files, concepts)
    parameters = sum(p.numel() for p in model.parameters())
    card = (HERE / 'clip_card.md').read_text()
    rows = [('**openmoji, never trained on**', unseen), ('training hands together', seen_all), *sorted(seen.items())]
    table = '\n'.join(f'| {who} | {n} | {one:.1f} % | {five:.1f} % |' for who, (one, five, n) in rows)
    rows = [('**scenes of combinations never trained on**', scenes), *scene_rows]
    scene_table = '\n'.join(f'| {who} | {n} | {one:.1f} % | {five:.1f} % |' for who, (one, five, n) in rows)
    facts = dict(PARAMETERS=f'{parameters:,}', SEED=str(seed), PROMPT=prompt.format('X'), SCORES=table, SCENES=scene_table)
    for key, value in facts.items():
        card = card.replace('{' + key + '}', value)
    (folder / 'README.md').write_text(card)
    if expected:
        write_expected(expected, shipped, names, concepts, prompts, logits, pixels, scene_logits, captions)


def plain_logits(folder, ids, pixels):
    model = Clip(json.loads((folder / 'config.json').read_text())).eval()
    model.load_state_dict({k: v.float() for k, v in load_file(folder / 'model.safetensors').items()})
    return model.logit_scale.exp() * model.picture(pixels) @ model.text(ids).T


def recalls(logits, truth):
    """(R@1, R@5) in percent and the number of pictures."""
    top = logits.topk(5, dim=1).indices
    hit = top == torch.tensor(list(truth)).unsqueeze(1)
    return hit[:, 0].float().mean().item() * 100, hit.any(1).float().mean().item() * 100, len(top)


def ship(shipped, files, concepts):
    """Copies the chosen held-out pictures and their index beside concepts.json; the choice is by seed alone."""
    out = HERE / '../world/openmoji'
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob('*.png'):
        old.unlink()
    names = [concepts[i]['name'].replace(' ', '-') + '.png' for i in shipped]
    for i, name in zip(shipped, names):
        shutil.copyfile(files[i], out / name)
    index = {name: concepts[i]['name'] for i, name in zip(shipped, names)}
    (out / 'index.json').write_text(json.dumps(index, indent=2) + '\n')
    return names


def write_expected(path, shipped, names, concepts, prompts, logits, pixels, scene_logits, captions):
    pictures = []
    for i, name in zip(shipped, names):
        best = logits[i].softmax(-1).topk(5)
        pictures.append(dict(
            file=name, name=concepts[i]['name'], rank=int((logits[i] > logits[i, i]).sum()) + 1,
            top5=[dict(index=k, name=concepts[k]['name'], probability=round(p, 6), logit=round(float(logits[i, k]), 5))
                  for p, k in zip(best.values.tolist(), best.indices.tolist())],
            pixel_values_sum=round(float(pixels[i].double().sum()), 4),
            logits_per_image=[round(v, 5) for v in logits[i].tolist()]))
    ranks = ((scene_logits > scene_logits.diagonal().unsqueeze(1)).sum(1) + 1).tolist()
    scenes = dict(captions=captions, ranks=ranks)
    path.write_text(json.dumps(dict(prompts=prompts, pictures=pictures, scenes=scenes), ensure_ascii=False, indent=1))
