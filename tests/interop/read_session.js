"use strict";
// Reads a session as the specification describes it, and the state of its keys.
const keys = require("./keys");

module.exports = async (redis, { sessionId }) => {
  const names = [keys.meta(sessionId), keys.agent(sessionId), keys.history(sessionId), keys.ids(sessionId)];
  const asked = redis.multi();
  for (const name of names) asked.type(name).pttl(name);
  const replies = (await asked.exec()).map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
  const stored = await redis.lrange(keys.history(sessionId), 0, -1);
  return {
    meta: await redis.hgetall(keys.meta(sessionId)),
    agent: await redis.get(keys.agent(sessionId)),
    history: stored.map((element) => JSON.parse(element)),
    // Characters beyond ASCII as code units, so that no encoding on the way can hide a difference.
    units: stored.map((element) => Array.from(JSON.parse(element).text, (c) => c.codePointAt(0))),
    types: names.map((_, i) => replies[2 * i]),
    left: names.map((_, i) => replies[2 * i + 1]),
    ttl: await redis.ttl(keys.meta(sessionId)),
  };
};
