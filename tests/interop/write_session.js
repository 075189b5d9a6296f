"use strict";
// Writes a session as the specification's own module would: three keys, relative lifetimes, and none of
// the fields and keys that this package adds. `raw` are elements written as they are, damaged ones too.
const keys = require("./keys");

module.exports = async (redis, { sessionId, userId, ttl, maxHistory, metadata, messages, raw = [] }) => {
  const now = new Date().toISOString();
  const meta = { userId, sessionId, createdAt: now, lastActiveAt: now, currentAgent: "ai", ...metadata };
  await redis.hset(keys.meta(sessionId), meta);
  await redis.set(keys.agent(sessionId), "ai");
  for (const message of messages) {
    await redis.rpush(keys.history(sessionId), JSON.stringify(message));
    await redis.ltrim(keys.history(sessionId), -maxHistory, -1);
    await redis.hset(keys.meta(sessionId), "lastActiveAt", new Date().toISOString());
  }
  for (const element of raw) await redis.rpush(keys.history(sessionId), Buffer.from(element, "base64"));
  if (ttl !== null) {
    for (const key of [keys.meta, keys.agent, keys.history]) await redis.expire(key(sessionId), ttl);
  }
  return { createdAt: now };
};
