// Ollama's library for JavaScript: `node use_ollama.mjs URL MODEL OTHER EMBEDDER`.
import { Ollama } from "ollama";
import { z } from "zod";

const [host, model, other, embedder] = process.argv.slice(2);
const messages = [{ role: "user", content: "What is the capital of France?" }];
const options = { temperature: 0, num_predict: 60 };
const Answer = z.object({ city: z.enum(["Paris", "Rome"]), is_large: z.boolean() });

const client = new Ollama({ host });

async function chat(more) {
  return (await client.chat({ model, messages, options, ...more })).message.content;
}

async function stream() {
  const pieces = [];
  for await (const chunk of await client.chat({ model, messages, options, stream: true })) {
    pieces.push(chunk.message.content);
  }
  return pieces;
}

// Leaves a long answer after its first words, then asks something else.
async function cancel() {
  const long = [{ role: "user", content: "Count from 1 to 1000." }];
  const chunks = await client.chat({ model, messages: long, options: { num_predict: 2000 }, stream: true });
  try {
    for await (const _ of chunks) chunks.abort();
  } catch (problem) {
    if (problem.name !== "AbortError") throw problem;
  }
  return chat();
}

async function parsed() {
  return Answer.parse(JSON.parse(await chat({ format: z.toJSONSchema(Answer) })));
}

// One conversation, in which another model says something.
async function swap() {
  const turns = [...messages, { role: "assistant", content: await chat() }];
  turns.push({ role: "user", content: "And of Italy?" });
  const brief = { ...options, num_predict: 20 };
  turns.push({ role: "assistant", content: await chat({ messages: turns, model: other, options: brief }) });
  return [turns[1].content, turns[3].content, await chat({ messages: [...turns, ...messages] })];
}

async function error(more) {
  try {
    await chat(more);
  } catch (problem) {
    return `${problem.name} ${problem.status_code}`;
  }
}

console.log(JSON.stringify({
  chat: await chat(),
  stream: await stream(),
  after_cancel: await cancel(),
  object: await parsed(),
  swap: await swap(),
  errors: {
    unknown_model: await error({ model: "nobody" }),
    refused: await error({ options: { temperature: 9 } }),
  },
  embeddings: (await client.embed({ model: embedder, input: ["what is a?", "b c d"] })).embeddings,
  models: (await client.list()).models.map((entry) => entry.model),
}));
