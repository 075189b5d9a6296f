"use strict";
// Switches the agent as the specification's own module would, which knows no epoch; with `epoch`, as
// docs/storage-layout.md asks of another language.
const keys = require("./keys");

module.exports = async (redis, { sessionId, agent, epoch }) => {
  const now = new Date().toISOString();
  const step = redis
    .multi()
    .set(keys.agent(sessionId), agent, "KEEPTTL")
    .hset(keys.meta(sessionId), { currentAgent: agent, agentSwitchedAt: now, lastActiveAt: now });
  if (epoch) step.hincrby(keys.meta(sessionId), "agentEpoch", 1);
  for (const [error] of await step.exec()) if (error) throw error;
};
