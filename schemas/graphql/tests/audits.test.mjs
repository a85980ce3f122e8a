// GraphQL over HTTP: every audit of `graphql-http`, none may fail, warn or take notice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { authorization, url } from './server.mjs';

const fetchFn = (address, init = {}) => fetch(address, { ...init, headers: { ...init.headers, ...authorization } });
const audits = serverAudits({ url, fetchFn });

test('there are audits', () => assert.ok(audits.length >= 61, `${audits.length}`));
for (const audit of audits) {
  test(`${audit.id} ${audit.name}`, async () => {
    const { status, reason } = await audit.fn();
    assert.equal(status, 'ok', reason);
  });
}
