// What tessera chat takes from a file; what is typed is in entry.test.ts.
import { expect, test } from 'vitest';
import { messagesOf } from '../../src/cli/chat.ts';

const system = [{ role: 'system', content: 'Be brief.' }];

test('a conversation goes on with its messages, one without any with what the model is told', () => {
  const messages = [...system, { role: 'user', content: 'Hi' }];
  expect(messagesOf(JSON.stringify(messages), [])).toEqual(messages);
  expect(messagesOf(undefined, system)).toEqual(system);
  for (const note of ['[', '{}', 'null']) expect(() => messagesOf(note, system)).toThrow('are broken');
});
