"""The tokenizer and chat template of tessera-llava: lower case, byte-level BPE that knows each word of the world whole."""
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from captions import COLOURS, LATER, wordings

SPECIAL = ['<s>', '</s>', '<pad>', '<image>']
# What LLaVA 1.5 was trained on ("vicuna"), with </s> after each answer. The normaliser makes it lower case.
TEMPLATE = """{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] if message['content'] is string else message['content'][0]['text'] }} \
{% else %}{{ message['role'].upper() + ': ' }}{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}\
{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}{% endif %}\
{{ eos_token if message['role'] == 'assistant' else ' ' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""


def texts(concepts, questions):
    """Everything that is said, as the template has it; each piece between special tokens on a line of its own."""
    for concept in concepts:
        for noun in wordings(concept):
            yield f'a {noun} {noun}, the {concept["name"]}'
    yield f'{LATER} {" ".join(COLOURS)} a small big thing.'
    for q in questions:
        yield f'user: {q["question"]} assistant: {q["answer"]}'
        yield q['question']
    yield 'user: \n'


def build(concepts, questions, max_length):
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[], ignore_merges=True))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for text in texts(concepts, questions)
             for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = [*SPECIAL, *letters, *sorted(words - set(letters))]
    # a word that is in the vocabulary is taken whole (ignore_merges); others are spelled in bytes
    tokenizer.model = models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=[], ignore_merges=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single='<s> $A', pair='<s> $A <s> $B', special_tokens=[('<s>', 0)])
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token='<s>', eos_token='</s>', pad_token='<pad>', padding_side='left',
        extra_special_tokens={'image_token': '<image>'}, clean_up_tokenization_spaces=False, model_max_length=max_length)
