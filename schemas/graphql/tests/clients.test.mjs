// Clients as the registry has them, unmodified: graphql-ws, graphql-sse, urql and Apollo.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHash, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Client as Urql, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient as sseClient } from 'graphql-sse';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { authorization, command, project, socketUrl, token, url } from './server.mjs';

// Apollo's modules for Node are CommonJS.
const require = createRequire(import.meta.url);
const { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } = require('@apollo/client/core');
const { GraphQLWsLink } = require('@apollo/client/link/subscriptions');
const { createPersistedQueryLink } = require('@apollo/client/link/persisted-queries');

const BOARD = 'subscription B($project: ID!) { boardChanged(project: $project) { cursor cards { id title } snapshot { cursor } } }';
const webSocket = (more = {}) =>
  createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: { token }, ...more });

/** The first frame, then that of a new card. */
async function twoFrames(subscribe) {
  const title = `Card ${randomUUID()}`;
  let stop;
  const seen = [];
  await new Promise((resolve, reject) => {
    stop = subscribe(
      (frame) => {
        seen.push(frame);
        if (seen.length === 1) command('POST', `/v1/projects/${project}/cards`, { title }).catch(reject);
        if (frame.cards.some((card) => card.title === title)) resolve();
      },
      reject,
    );
  });
  stop();
  assert.ok(seen[0].snapshot?.cursor, 'the first frame is whole');
}

test('graphql-ws', async () => {
  const client = webSocket();
  const subscription = (query, variables) => ({ query, variables });
  await twoFrames((frame, failed) =>
    client.subscribe(subscription(BOARD, { project }), {
      next: ({ data, errors }) => (errors ? failed(errors[0]) : frame(data.boardChanged)),
      error: failed,
      complete() {},
    }),
  );
  // A question, a refusal before anything is done, and an error while it is.
  const ask = (query) =>
    new Promise((resolve) => {
      let answer;
      client.subscribe({ query }, { next: (value) => (answer = value), error: (error) => resolve({ error }), complete: () => resolve(answer) });
    });
  assert.ok((await ask('{ me { actor } }')).data.me.actor);
  assert.equal((await ask('{ nothing }')).error[0].extensions.code, 'invalid_query');
  assert.equal((await ask('subscription { runProgress(run: "x") { cursor } }')).errors[0].extensions.code, 'not_found');
  await client.dispose();
});

test('graphql-sse, a connection for each subscription', async () => {
  const client = sseClient({ url, headers: authorization, retryAttempts: 0 });
  await twoFrames((frame, failed) =>
    client.subscribe({ query: BOARD, variables: { project } }, {
      next: ({ data, errors }) => (errors ? failed(errors[0]) : frame(data.boardChanged)),
      error: failed,
      complete() {},
    }),
  );
  const answers = [];
  await new Promise((resolve, reject) =>
    client.subscribe({ query: '{ me { actor } }' }, { next: (value) => answers.push(value), error: reject, complete: resolve }),
  );
  assert.equal(answers.length, 1);
  assert.ok(answers[0].data.me.actor);
});

test('urql', async () => {
  const socket = webSocket();
  const forward = (request) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...request, query: request.query ?? '' }, sink) }),
  });
  const client = new Urql({
    url,
    fetchOptions: { headers: authorization },
    exchanges: [cacheExchange, fetchExchange, subscriptionExchange({ forwardSubscription: forward })],
    preferGetMethod: false,
  });
  const me = await client.query('{ me { actor } }', {}).toPromise();
  assert.ok(me.data.me.actor, String(me.error));
  await twoFrames((frame, failed) => {
    const { unsubscribe } = client.subscription(BOARD, { project }).subscribe(({ data, error }) => {
      if (error) failed(error);
      else if (data) frame(data.boardChanged);
    });
    return unsubscribe;
  });
  await socket.dispose();
});

test('Apollo, with documents that the server remembers', async () => {
  const socket = webSocket();
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  const sent = [];
  const counting = (address, init) => (sent.push(JSON.parse(init.body)), fetch(address, init));
  const http = createPersistedQueryLink({ sha256 }).concat(new HttpLink({ uri: url, headers: authorization, fetch: counting }));
  const link = ApolloLink.split(
    ({ query }) => query.definitions.some((definition) => definition.operation === 'subscription'),
    new GraphQLWsLink(socket),
    http,
  );
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  // A document of this run, which the server cannot know: asked for by its digest, sent whole, then known.
  const name = `Me${randomUUID().replaceAll('-', '')}`;
  const ask = () => client.query({ query: gql`query ${name} { me { actor } }`, fetchPolicy: 'network-only' });
  assert.ok((await ask()).data.me.actor);
  assert.ok((await ask()).data.me.actor);
  assert.deepEqual(sent.map((body) => 'query' in body), [false, true, false]);
  await twoFrames((frame, failed) => {
    const subscription = client
      .subscribe({ query: gql(BOARD), variables: { project }, fetchPolicy: 'no-cache' })
      .subscribe(({ data }) => frame(data.boardChanged), failed);
    return () => subscription.unsubscribe();
  });
  client.stop();
  await socket.dispose();
});
