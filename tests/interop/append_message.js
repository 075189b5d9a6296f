"use strict";
// Appends to a session of this package as docs/storage-layout.md asks of another language.
const keys = require("./keys");

module.exports = async (redis, { sessionId, message, maxHistory }) => {
  const [owner, ttl] = await redis.hmget(keys.meta(sessionId), "userId", "ttl");
  if (owner === null) throw new Error("no such session");
  const step = redis
    .multi()
    .rpush(keys.history(sessionId), JSON.stringify(message))
    .ltrim(keys.history(sessionId), -maxHistory, -1)
    .hincrby(keys.meta(sessionId), "messageCount", 1)
    .hset(keys.meta(sessionId), "lastActiveAt", new Date().toISOString());
  if (ttl !== "-1") {
    const deadline = Date.now() + Number(ttl) * 1000;
    for (const key of [keys.meta, keys.agent, keys.history, keys.ids]) step.pexpireat(key(sessionId), deadline);
  }
  for (const [error] of await step.exec()) if (error) throw error;
};
