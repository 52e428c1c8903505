// The best of eight answers about an image, streamed, with OpenAI's own client for Node:
//
//     npm ci && node best-of-8.mjs http://127.0.0.1:8000/v1 nano image.png "What is the sum of row 1?"
//
// Prints the winner's text as it comes, then one line of JSON: the text, how it was chosen, and the tokens.
import { readFile } from "node:fs/promises";
import OpenAI from "openai";

const [baseURL, model, image, question] = process.argv.slice(2);
const url = `data:image/png;base64,${await readFile(image, "base64")}`;
const client = new OpenAI({ baseURL, apiKey: "none" });

const stream = client.chat.completions.stream({
  model,
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url } },
        { type: "text", text: question },
      ],
    },
  ],
  max_tokens: 64,
  seed: 7,
  best_of: 8,
  stream_options: { include_usage: true },
});
stream.on("content", (delta) => process.stdout.write(delta));

const { choices, test_time_scaling, usage } = await stream.finalChatCompletion();
console.log(`\n${JSON.stringify({ text: choices[0].message.content, test_time_scaling, usage })}`);
