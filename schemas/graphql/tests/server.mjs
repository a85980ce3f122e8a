// The server under test: where it is and who asks, as the test that starts it says in the environment.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

const { AW_URL, AW_TOKEN } = process.env;
assert.ok(AW_URL && AW_TOKEN, 'AW_URL (http://…) and AW_TOKEN must name a server and a token');

export const base = AW_URL;
export const token = AW_TOKEN;
export const url = `${AW_URL}/graphql`;
export const socketUrl = url.replace(/^http/, 'ws');
export const project = process.env.AW_PROJECT;
export const authorization = { authorization: `Bearer ${AW_TOKEN}` };

/** A command, by REST. */
export async function command(method, path, body, headers = {}) {
  const answer = await fetch(`${base}${path}`, {
    method,
    headers: { ...authorization, 'content-type': 'application/json', 'idempotency-key': randomUUID(), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** A question. */
export async function ask(query, variables = {}) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}
