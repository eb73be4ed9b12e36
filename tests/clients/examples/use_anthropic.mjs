// Anthropic's SDK for JavaScript: `node use_anthropic.mjs URL MODEL OTHER EMBEDDER`.
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

const [url, model, other] = process.argv.slice(2);
const messages = [{ role: "user", content: "What is the capital of France?" }];
const Answer = z.object({ city: z.enum(["Paris", "Rome"]), is_large: z.boolean() });

const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });

function ask(options) {
  return client.messages.create({ model, messages, max_tokens: 60, temperature: 0, ...options });
}

async function chat(options) {
  return (await ask(options)).content.map((block) => block.text ?? "").join("");
}

async function stream() {
  const pieces = [];
  const events = client.messages.stream({ model, messages, max_tokens: 60, temperature: 0 });
  events.on("text", (text) => pieces.push(text));
  await events.finalMessage();
  return pieces;
}

// Leaves a long answer after its first words, then asks something else.
async function cancel() {
  const long = [{ role: "user", content: "Count from 1 to 1000." }];
  for await (const event of await ask({ messages: long, max_tokens: 2000, stream: true })) {
    if (event.type === "content_block_delta") break;
  }
  return chat();
}

async function tool() {
  const input_schema = z.toJSONSchema(Answer);
  const { content } = await ask({
    tools: [{ name: "save_answer", input_schema }],
    tool_choice: { type: "tool", name: "save_answer" },
  });
  const [call] = content;
  const result = { type: "tool_result", tool_use_id: call.id, content: "saved" };
  await ask({ messages: [...messages, { role: "assistant", content }, { role: "user", content: [result] }] });
  return { name: call.name, arguments: call.input };
}

async function parsed() {
  const output_config = { format: zodOutputFormat(Answer) };
  return (await client.messages.parse({ model, messages, max_tokens: 60, output_config })).parsed_output;
}

// One conversation, in which another model says something.
async function swap() {
  const turns = [...messages, { role: "assistant", content: await chat() }];
  turns.push({ role: "user", content: "And of Italy?" });
  turns.push({ role: "assistant", content: await chat({ messages: turns, model: other, max_tokens: 20 }) });
  return [turns[1].content, turns[3].content, await chat({ messages: [...turns, ...messages] })];
}

async function error(options) {
  try {
    await ask(options);
  } catch (problem) {
    return problem.constructor.name;
  }
}

console.log(JSON.stringify({
  chat: await chat(),
  stream: await stream(),
  after_cancel: await cancel(),
  tool: await tool(),
  object: await parsed(),
  swap: await swap(),
  errors: { unknown_model: await error({ model: "nobody" }), refused: await error({ temperature: 9 }) },
}));
