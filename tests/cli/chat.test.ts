// What tessera chat takes from a file; what is typed is in entry.test.ts.
import { expect, test } from 'vitest';
import { messagesOf } from '../../src/cli/chat.ts';

const system = [{ role: 'system', content: 'Be brief.' }];

test('a conversation goes on with its messages, one without any with what the model is told', () => {
  const messages = [...system, { role: 'user', content: 'Hi' }];
  expect(messagesOf(JSON.stringify(messages), [], false)).toEqual(messages);
  expect(messagesOf(undefined, system, false)).toEqual(system);
  for (const note of ['[', '{}', 'null']) expect(() => messagesOf(note, system, false)).toThrow('are broken');
});

test('a conversation has nothing fetched that was not allowed', () => {
  const seen = (image: unknown) => [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Hi' },
        { type: 'image', image },
      ],
    },
  ];
  const taken = (image: unknown, allowUrls: boolean) => messagesOf(JSON.stringify(seen(image)), system, allowUrls);
  const address = 'HTTPS://example.com/\u001ba.png';
  expect(() => taken(address, false)).toThrow(/^\[chat\] \/load: got a picture at HTTPS.* want .*--allow-urls/);
  expect(() => taken(address, false)).not.toThrow('\u001b');
  for (const [image, allowUrls] of [
    [address, true],
    ['photo.jpg', false],
    ['data:image/png;base64,AA', false],
  ] as const)
    expect(taken(image, allowUrls)).toEqual(seen(image));
});
