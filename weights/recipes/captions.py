"""Captions of the drawn world: wordings for one thing, its background and its place."""
import random

COLOURS = {  # named backgrounds, sRGB
    'white': (255, 255, 255), 'black': (24, 24, 28), 'grey': (150, 150, 155), 'red': (220, 50, 47),
    'orange': (245, 150, 50), 'yellow': (250, 220, 80), 'green': (70, 170, 80), 'blue': (60, 110, 220),
    'purple': (140, 80, 190), 'pink': (245, 160, 195),
}
PLACES = ['on the left', 'on the right', 'at the top', 'at the bottom', 'in the middle']
PROMPT = 'a drawing of {}'  # the wording to use at run time, filled with the phrase of a concept
TEMPLATES = [
    '{}', 'a picture of {}', 'a photo of {}', 'an image of {}', 'an emoji of {}', 'an icon of {}',
    'a cartoon of {}', 'a sketch of {}', 'a simple drawing of {}', 'a colourful drawing of {}',
    'a small drawing of {}', 'a big drawing of {}', 'this is {}', 'here is {}', 'there is {} here',
    'the picture shows {}', 'somebody drew {}', 'i can see {}.', 'look, {}!',
]
# Words that later members of the family use with the same vocabulary: they get tokens now, so that ids never move.
LATER = '''
how many things are there? what is this? what colour is the background? where is the thing? is it big or
small? one two three four zero five six seven eight nine ten yes no and or not with without next to above
below between behind before left right top bottom middle corner of in on at a an the it they is are was were
has have there here red green blue yellow orange purple pink black white grey brown big small large tiny old
new happy sad same different both pictures second first scene showing animal food fruit vehicle plant face
object draw describe name count compare answer question me you we i my your colour color background moving
sound hear see say tell which who why when because so up down day night turns goes from to
'''


def with_article(word):
    """'a cat', 'an owl'; plurals and words that carry their own article stay as they are."""
    if word.endswith('s') and not word.endswith('ss') or word in ('cutlery', 'maize', 'tea', 'coffee'):
        return word
    return ('an ' if word[0] in 'aeiou' else 'a ') + word


def wordings(concept):
    """The noun phrases of one concept: its phrase, its bare name, 'a name', its synonyms."""
    name = concept['name']
    return [concept['phrase'], name, f'a {name}', *[with_article(s) for s in concept['synonyms']]]


def caption(concept, rng: random.Random, background=None, place=None):
    """One caption; `background` and `place` are truths of the picture and are told some of the time."""
    choices = wordings(concept)
    noun = choices[0] if rng.random() < 0.6 else rng.choice(choices)
    text = (PROMPT if rng.random() < 0.35 else rng.choice(TEMPLATES)).format(noun)
    if background and rng.random() < 0.3:
        text += f' on a {background} background'
    if place and rng.random() < 0.2:
        text += f' {place}'
    return text


def corpus(concepts):
    """(text, weight) pairs from which the tokenizer is made."""
    for concept in concepts:
        for noun in wordings(concept):
            yield noun, 20
    for text in [PROMPT, *TEMPLATES]:
        yield text.replace('{}', ''), 200
    for word in [*COLOURS, *PLACES, 'background']:
        yield word, 200
    yield LATER, 20
