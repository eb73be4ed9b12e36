// Vercel's AI SDK, as any OpenAI-compatible server and as OpenAI: `node use_ai.mjs URL MODEL OTHER EMBEDDER`.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, streamText, tool as makeTool } from "ai";
import { z } from "zod";

const [url, model, other, embedder] = process.argv.slice(2);
const prompt = "What is the capital of France?";
const greedy = { temperature: 0, maxOutputTokens: 60, maxRetries: 0 };
const Answer = z.object({ city: z.enum(["Paris", "Rome"]), is_large: z.boolean() });

const compatible = createOpenAICompatible({
  name: "roundhouse",
  baseURL: `${url}/v1`,
  apiKey: "none",
  supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });

async function stream(of) {
  const pieces = [];
  for await (const piece of streamText({ model: of, prompt, ...greedy }).textStream) pieces.push(piece);
  return pieces;
}

// Leaves a long answer after its first words, then asks something else.
async function cancel(of) {
  const controller = new AbortController();
  const long = { ...greedy, maxOutputTokens: 2000, prompt: "Count from 1 to 1000." };
  const reply = streamText({ model: of, ...long, abortSignal: controller.signal });
  for await (const _ of reply.textStream) break;
  controller.abort();
  return (await generateText({ model: of, prompt, ...greedy })).text;
}

async function tool(of) {
  const save_answer = makeTool({ description: "Saves an answer.", inputSchema: Answer, execute: async () => "saved" });
  const toolChoice = { type: "tool", toolName: "save_answer" };
  const { toolCalls } = await generateText({ model: of, prompt, tools: { save_answer }, toolChoice, ...greedy });
  return { name: toolCalls[0].toolName, arguments: toolCalls[0].input };
}

async function parsed(of) {
  const output = Output.object({ schema: Answer });
  return (await generateText({ model: of, prompt, output, ...greedy })).output;
}

// One conversation, in which another model says something.
async function swap() {
  const messages = [{ role: "user", content: prompt }];
  const said = [];
  for (const [of, next] of [[model, "And of Italy?"], [other, prompt], [model, ""]]) {
    const { text } = await generateText({ model: compatible(of), messages, ...greedy, maxOutputTokens: 20 });
    messages.push({ role: "assistant", content: text }, { role: "user", content: next });
    said.push(text);
  }
  return said;
}

async function error(of, options) {
  try {
    await generateText({ model: of, prompt, maxRetries: 0, ...options });
  } catch (problem) {
    return `${APICallError.isInstance(problem) ? "APICallError" : problem.name} ${problem.statusCode}`;
  }
}

async function use(of) {
  return {
    chat: (await generateText({ model: of, prompt, ...greedy })).text,
    stream: await stream(of),
    after_cancel: await cancel(of),
    tool: await tool(of),
    object: await parsed(of),
  };
}

const { embeddings } = await embedMany({
  model: compatible.embeddingModel(embedder),
  values: ["what is a?", "b c d"],
});
console.log(JSON.stringify({
  compatible: {
    ...(await use(compatible(model))),
    swap: await swap(),
    errors: {
      unknown_model: await error(compatible("nobody")),
      refused: await error(compatible(model), { temperature: 9 }),
    },
    embeddings,
  },
  over_chats: await use(openai.chat(model)),
  over_responses: await use(openai(model)),
}));
