"use strict";
// Runs one program: node run.js <port> <name>. Its argument is JSON on stdin, its answer JSON on stdout.
const Redis = require("ioredis");

async function main() {
  const [port, name] = process.argv.slice(2);
  const program = require(`./${name}.js`);
  let input = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
  const redis = new Redis({ host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: 1 });
  try {
    const answer = await program(redis, JSON.parse(input));
    process.stdout.write(JSON.stringify(answer === undefined ? null : answer));
  } finally {
    redis.disconnect();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
