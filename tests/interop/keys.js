"use strict";
// The key names of the specification.
exports.meta = (sessionId) => `session:${sessionId}:meta`;
exports.agent = (sessionId) => `session:${sessionId}:agent`;
exports.history = (sessionId) => `session:${sessionId}:history`;
// Beyond the specification: what this package remembers of message ids.
exports.ids = (sessionId) => `session:${sessionId}:ids`;
