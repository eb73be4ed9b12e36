// OpenAI's SDK for JavaScript, chats and Responses: `node use_openai.mjs URL MODEL OTHER EMBEDDER`.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, model, other, embedder] = process.argv.slice(2);
const content = "What is the capital of France?";
const messages = [{ role: "user", content }];
const Answer = z.object({ city: z.enum(["Paris", "Rome"]), is_large: z.boolean() });

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

async function chat(turns = messages, of = model) {
  const options = { model: of, messages: turns, temperature: 0, max_tokens: 20 };
  return (await client.chat.completions.create(options)).choices[0].message.content;
}

async function stream() {
  const chunks = await client.chat.completions.create({ model, messages, temperature: 0, stream: true });
  const pieces = [];
  for await (const chunk of chunks) pieces.push(chunk.choices[0].delta.content ?? "");
  return pieces;
}

function streamHelper() {
  return client.chat.completions.stream({ model, messages, temperature: 0 }).finalContent();
}

// Leaves a long answer after its first words, then asks something else.
async function cancel() {
  const chunks = await client.chat.completions.create({ model, messages, stream: true, ignore_eos: true });
  for await (const _ of chunks) break;
  return chat();
}

async function tool() {
  const parameters = z.toJSONSchema(Answer);
  const { choices } = await client.chat.completions.create({
    model,
    messages,
    tools: [{ type: "function", function: { name: "save_answer", parameters } }],
    tool_choice: { type: "function", function: { name: "save_answer" } },
  });
  const [call] = choices[0].message.tool_calls;
  await chat([...messages, choices[0].message, { role: "tool", tool_call_id: call.id, content: "saved" }]);
  return { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
}

async function parsed() {
  const response_format = zodResponseFormat(Answer, "answer");
  const { choices } = await client.chat.completions.parse({ model, messages, response_format });
  return choices[0].message.parsed;
}

// One conversation, in which another model says something.
async function swap() {
  const first = { role: "assistant", content: await chat() };
  const turns = [...messages, first, { role: "user", content: "And of Italy?" }];
  const second = { role: "assistant", content: await chat(turns, other) };
  return [first.content, second.content, await chat([...turns, second, ...messages])];
}

async function error(options) {
  try {
    await client.chat.completions.create({ model, messages, ...options });
  } catch (problem) {
    return problem.constructor.name;
  }
}

async function responses() {
  const reply = client.responses.stream({ model, input: content, temperature: 0 });
  const pieces = [];
  for await (const event of reply) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
  }
  return { chat: (await reply.finalResponse()).output_text, stream: pieces };
}

console.log(JSON.stringify({
  chat: await chat(),
  stream: await stream(),
  stream_helper: await streamHelper(),
  after_cancel: await cancel(),
  tool: await tool(),
  object: await parsed(),
  swap: await swap(),
  errors: { unknown_model: await error({ model: "nobody" }), refused: await error({ temperature: 9 }) },
  embeddings: (await client.embeddings.create({ model: embedder, input: ["what is a?", "b c d"] }))
    .data.map((item) => item.embedding),
  over_responses: await responses(),
}));
