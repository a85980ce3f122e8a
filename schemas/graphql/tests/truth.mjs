// Many subscribers, cut off again and again while cards come, move, run and go and somebody else (the test that started this)
// kills the servers: at any moment what each has is what there was as of its cursor, and in the end what the server has.
//
// Says `ready` when all have their first frame, then `worked` after each so many commands and `cut` when all the cuts are
// made, and goes on until it reads a line; then it compares. The pauses pace the load and the client's attempts to come
// back; nothing is decided by them.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Follower, agree, ask, fail, random } from './followers.mjs';
import { base, authorization, project } from './server.mjs';

const SUBSCRIBERS = Number(process.env.AW_SUBSCRIBERS ?? 40);
const CUTS = Number(process.env.AW_CUTS ?? 400);
/** Each is cut off about so often, in milliseconds. */
const CUT_EVERY = 3_000;
/** Cards that are followed, and that much happens to. */
const FOLLOWED = 4;
const LANES = ['backlog', 'ready', 'review', 'done'];
const SCRIPT = [
  { tool: 'write_file', input: { path: 'WORK.md', content: 'done\n' } },
  { tool: 'finish', input: { summary: 'Wrote it.', success: true } },
];

/** A command, again and again under the same key until it is answered. */
async function command(path, body) {
  const headers = { ...authorization, 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  for (;;) {
    try {
      const answer = await fetch(`${base}${path}`, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5000) });
      const text = await answer.json();
      if (answer.status < 500 && answer.status !== 429) return text;
    } catch {
      // Whoever is down now comes back.
    }
    await sleep(50);
  }
}
const cards = `/v1/projects/${project}/cards`;
const create = (title, description = '') => command(cards, { title, description });
const of = (card, verb, body = {}) => command(`${cards}/${card}/${verb}`, body);

/** Settles once this is answered with something. */
async function visible(query, variables) {
  while (!Object.values((await ask(query, variables)) ?? {})[0]) await sleep(50);
}

let going = true;
let answered = 0;
const followed = [];
/** What people do. */
async function work() {
  const own = [];
  for (; going; await sleep(random(30))) {
    if (random(4) === 0) {
      const card = followed[random(FOLLOWED)];
      if (random(2) === 0) await of(card, 'comments', { text: `Said ${answered}` });
      else await of(card, 'move', { lane: LANES[random(LANES.length)] });
    } else if (own.length < 5 || random(4) === 0) own.push((await create(`Card ${answered}`)).id);
    else if (random(8) === 0) await of(own.splice(random(own.length), 1)[0], 'archive');
    else await of(own[random(own.length)], 'move', { lane: LANES[random(LANES.length)] });
    if (++answered % 25 === 0) console.log('worked');
  }
}

/** One card after the other is run. Whoever follows runs follows each to its end, and knows all of it then. */
async function run(followers) {
  let runs = 0;
  for (; going; runs += 1) {
    const card = await create(`Run ${runs}`, `Do it.\n\n\`\`\`agentworks-script\n${JSON.stringify(SCRIPT)}\n\`\`\`\n`);
    const { run, position } = await of(card.id, 'run');
    assert.ok(run, 'a new card can be run');
    await visible('query($run: ID!, $at: Cursor) { run(id: $run, waitFor: $at) { id } }', { run, at: position });
    for (const follower of followers) follower.follow({ run });
    await Promise.all(followers.map((follower) => follower.over));
    await agree(followers);
  }
  return runs;
}

/** Cuts one after the other off. */
async function cut(followers) {
  for (let cuts = 0; cuts < CUTS; await sleep(random((2 * CUT_EVERY) / SUBSCRIBERS))) {
    if (followers[random(SUBSCRIBERS)].cut()) cuts += 1;
  }
  console.log('cut');
}

/** What somebody has is what there was as of their cursor, by another fold than the one that made the frames. */
async function check(followers) {
  let checks = 0;
  for (; going; await sleep(50)) if (await followers[random(followers.length)].compareAsOf()) checks += 1;
  return checks;
}

async function scenario() {
  let position;
  for (let number = 0; number < FOLLOWED; number += 1) {
    const card = await create(`Followed ${number}`);
    followed.push(card.id);
    position = card.position;
  }
  await visible('query($p: ID!, $at: Cursor) { board(project: $p, waitFor: $at) { cursor } }', { p: project, at: position });
  // One of ten follows a card, one of ten a run.
  const kind = (number) => ({ 1: 'card', 2: 'run' })[number % 10] ?? 'board';
  const all = Array.from({ length: SUBSCRIBERS }, (_, number) => new Follower(kind(number)));
  const those = (kind) => all.filter((follower) => follower.kind === kind);
  for (const follower of those('board')) follower.follow({ project });
  for (const [number, follower] of those('card').entries()) follower.follow({ card: followed[number % FOLLOWED] });
  const steady = [...those('board'), ...those('card')];
  await Promise.all(steady.map((follower) => follower.begun));
  console.log('ready');

  const working = [work(), work()];
  const [running, cutting, checking] = [run(those('run')), cut(all), check(steady)];
  for (const each of [...working, running, cutting, checking]) each.catch(fail);
  await new Promise((resolve) => createInterface({ input: process.stdin }).once('line', resolve));
  await cutting;
  going = false;
  const [runs, checks] = await Promise.all([running, checking, ...working]);
  const last = await create('The last one');
  await visible('query($p: ID!, $at: Cursor) { board(project: $p, waitFor: $at) { cursor } }', { p: project, at: last.position });
  await agree(those('board'));
  for (const card of followed) {
    const its = those('card').filter(({ variables }) => variables.card === card);
    if (its.length) await agree(its);
  }
  const sum = (of) => all.reduce((sum, one) => sum + of(one), 0);
  const [frames, resyncs] = [sum((one) => one.frames), sum((one) => one.resyncs)];
  console.log(`same ${SUBSCRIBERS} subscribers, ${answered} commands, ${runs} runs, ${CUTS} cuts, ${checks} checks, ${frames} frames, ${resyncs} resyncs`);
}

await scenario().catch(fail);
process.exit(0);
