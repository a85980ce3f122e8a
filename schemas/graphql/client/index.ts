/** A reference client of AgentWorks' subscriptions: see docs/graphql.md. */
export * from './board.js';
export * from './card.js';
export * from './follow.js';
export * from './operations.js';
export * from './run.js';
