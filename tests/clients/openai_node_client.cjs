// SPDX-License-Identifier: Apache-2.0
// The `openai` package of Node, unchanged, against a live server: chat, stream, tools, structured output, responses, errors.
// Started by openai_node_client_test.py with PLANISH_URL and PLANISH_KEY; NODE_PATH says where the package is.
'use strict';
const assert = require('node:assert/strict');
const OpenAI = require('openai');
const { zodResponseFormat } = require('openai/helpers/zod');
const { z } = require('zod');

const client = new OpenAI({ baseURL: process.env.PLANISH_URL + '/v1', apiKey: process.env.PLANISH_KEY, maxRetries: 0, timeout: 120_000 });
const messages = [{ role: 'user', content: 'Hello there' }];
const tool = {
  type: 'function',
  function: {
    name: 'look_up',
    parameters: {
      type: 'object',
      properties: { city: { enum: ['Oslo', 'Rome'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
};

async function chat() {
  const request = { model: 'any', messages, max_tokens: 80, seed: 1, thinking_budget: 8 };
  const answer = await client.chat.completions.create(request);
  const { message } = answer.choices[0];
  assert.ok(message.content.length > 0 && message.reasoning_content.length > 0);
  assert.ok(answer.usage.completion_tokens_details.reasoning_tokens >= 8);
  let content = '', reasoning = '', usage = null;
  const stream = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    content += chunk.choices[0]?.delta.content ?? '';
    reasoning += chunk.choices[0]?.delta.reasoning_content ?? '';
  }
  assert.equal(content, message.content);
  assert.equal(reasoning, message.reasoning_content);
  assert.equal(usage.completion_tokens, answer.usage.completion_tokens);
  // The package's own accumulator, which is strict about the order and shape of chunks.
  const final = await client.chat.completions.stream(request).finalChatCompletion();
  assert.equal(final.choices[0].message.content, message.content);
  assert.equal(final.choices[0].finish_reason, answer.choices[0].finish_reason);
}

async function cancelled() {
  const stream = await client.chat.completions.create(
    { model: 'any', messages, max_tokens: 400, ignore_eos: true, stream: true, thinking_budget: 0 });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) break; // leaves the loop and so the connection
  }
  assert.ok((await client.models.list()).data.length === 1);
}

async function tools() {
  const request = { model: 'any', messages, tools: [tool], tool_choice: 'required', parallel_tool_calls: false,
                    max_tokens: 300, seed: 3, thinking_budget: 4 };
  const answer = await client.chat.completions.create(request);
  const call = answer.choices[0].message.tool_calls[0];
  const found = JSON.parse(call.function.arguments);
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.equal(call.function.name, 'look_up');
  assert.ok(['Oslo', 'Rome'].includes(found.city) && found.days >= 1 && found.days <= 9);
  const final = await client.chat.completions.stream(request).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.tool_calls[0].function, call.function);
  // The package's loop: it calls the function and sends the result back until the model has had its say.
  const seen = [];
  const runner = client.chat.completions.runTools({
    model: 'any', messages, max_tokens: 300, seed: 3, thinking_budget: 4, parallel_tool_calls: false,
    tool_choice: { type: 'function', function: { name: 'look_up' } },
    tools: [{ type: 'function', function: { ...tool.function, parse: JSON.parse,
      function: (given) => { seen.push(given); return '12 degrees'; } } }],
  });
  await runner.done();
  assert.deepEqual(seen.length, 1);
  assert.equal(runner.messages.at(-1).role, 'tool');
}

async function structure() {
  // Enumerations only: a random model might write a free string until its tokens are used up.
  const Verdict = z.object({ good: z.boolean(), grade: z.enum(['low', 'middle', 'high']) });
  const answer = await client.chat.completions.parse({
    model: 'any', messages, max_tokens: 300, seed: 5, thinking_budget: 4, response_format: zodResponseFormat(Verdict, 'verdict') });
  assert.equal(typeof answer.choices[0].message.parsed.good, 'boolean');
}

async function responses() {
  const request = { model: 'any', input: 'Hello', max_output_tokens: 60, thinking_budget: 5, seed: 1 };
  const answer = await client.responses.create(request);
  assert.ok(answer.output_text.length > 0);
  assert.equal(answer.output[0].type, 'reasoning');
  const kinds = [];
  let text = '';
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    kinds.push(event.type);
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  assert.equal(text, answer.output_text);
  assert.equal(kinds[0], 'response.created');
  assert.ok(['response.completed', 'response.incomplete'].includes(kinds.at(-1)), kinds.at(-1));
  const final = await client.responses.stream(request).finalResponse();
  // Put together from the items; `output_text` is a convenience that the package adds to answers of create() only.
  assert.equal(final.output.at(-1).content[0].text, answer.output_text);
}

async function errors() {
  await assert.rejects(client.chat.completions.create({ model: 'any', messages, temperature: 1000 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === 'temperature' && error.code === 'invalid_value');
  await assert.rejects(client.embeddings.create({ model: 'any', input: 'x' }), OpenAI.NotFoundError);
  const stranger = new OpenAI({ baseURL: process.env.PLANISH_URL + '/v1', apiKey: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  const text = await client.completions.create({ model: 'any', prompt: 'Once', max_tokens: 5, echo: true, logprobs: 1 });
  assert.ok(text.choices[0].text.startsWith('Once'));
}

(async () => {
  for (const part of [chat, cancelled, tools, structure, responses, errors]) {
    await part();
    console.log('ok', part.name);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
