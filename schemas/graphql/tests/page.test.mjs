// The example page in a real browser: it shows a board, what happens to it, and goes on after an interruption.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { ask, base, command, project, token } from './server.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

let browser;
before(async () => (browser = await chromium.launch({ executablePath, args, headless: true })));
after(() => browser?.close());

/** A page in a profile of its own; whatever it complains about fails the test. */
async function open(hash) {
  const page = await (await browser.newContext()).newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(`${base}/examples/board${hash}`);
  return { page, complaints };
}

const card = async (title) => (await command('POST', `/v1/projects/${project}/cards`, { title })).id;
const move = (id, lane) => command('POST', `/v1/projects/${project}/cards/${id}/move`, { lane });

test('a card comes and moves before the eyes, also after the connection was cut', async () => {
  const { page, complaints } = await open(`#token=${token}&project=${project}`);
  await page.waitForSelector('#state[data-live]');
  assert.equal(new URL(page.url()).hash, '', 'the token is out of the address');
  const title = `<b>Card</b> ${randomUUID()}`;
  const id = await card(title);
  const item = await page.waitForSelector(`[data-lane=backlog] [data-card=${id}]`);
  assert.equal(await item.innerText(), title, 'text is text');
  await move(id, 'ready');
  await page.waitForSelector(`[data-lane=ready] [data-card=${id}]`);

  // The network goes, a card moves, the network comes back.
  const cut = await page.context().newCDPSession(page);
  await page.evaluate(() => client.terminate());
  await cut.send('Network.enable');
  await cut.send('Network.emulateNetworkConditions', { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 });
  await page.waitForSelector('#state:not([data-live])');
  await move(id, 'review');
  const missed = await card('Missed');
  await cut.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await page.waitForSelector(`[data-lane=review] [data-card=${id}]`);
  await page.waitForSelector(`[data-card=${missed}]`);

  // What the page shows is what the server says.
  const { board } = await ask('query($p: ID!) { board(project: $p) { lanes { key cards { id } } } }', { p: project });
  const shown = await page.$$eval('section', (lanes) =>
    lanes.map((lane) => ({ key: lane.dataset.lane, cards: [...lane.querySelectorAll('li')].map((card) => ({ id: card.dataset.card })) })),
  );
  assert.deepEqual(shown, board.lanes);
  assert.deepEqual(complaints.filter((text) => !/WebSocket|ERR_INTERNET_DISCONNECTED/.test(text)), []);
});

test('who has one project need not name it, and a wrong token or project is said', async () => {
  const { page } = await open('');
  await page.fill('#token', token);
  await page.click('button');
  await page.waitForSelector('#state[data-live]');
  await page.waitForSelector('[data-lane=backlog]');
  for (const [hash, said] of [
    [`#token=${token}&project=prj_x`, /no such project/],
    ['#token=nonsense&project=prj_x', /token was refused.*token_malformed/],
    ['#token=nonsense', /token/],
  ]) {
    const { page } = await open(hash);
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await page.innerText('#error'), said);
    assert.ok(await page.isVisible('#ask'), 'it may be tried again');
  }
});
