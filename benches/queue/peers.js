// How many jobs a second graphile-worker and pg-boss claim and finish on a Postgres: node peers.js URL JOBS
// One line of JSON. Both work on what stands in the queue before the clock starts, in batches, each at its best setting.
import { Logger, run, runMigrations } from 'graphile-worker'
import pg from 'pg'
import PgBoss from 'pg-boss'

const [url, count] = [process.argv[2], Number(process.argv[3])]
const BATCH = 100
const LOOPS = 4

async function graphile() {
  const pool = new pg.Pool({ connectionString: url, max: 12 })
  await runMigrations({ pgPool: pool })
  await pool.query("SELECT graphile_worker.add_job('noop') FROM generate_series(1, $1)", [count])
  let [done, started] = [0, 0]
  let finished
  const all = new Promise((resolve) => (finished = resolve))
  const runner = await run({
    pgPool: pool,
    logger: new Logger(() => () => {}),
    noHandleSignals: true,
    concurrency: BATCH,
    pollInterval: 10,
    preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    taskList: {
      async noop() {
        started ||= performance.now()
        if (++done === count) finished()
      },
    },
  })
  await all
  // What is finished is deleted.
  for (;;) {
    const { rows } = await pool.query('SELECT NOT EXISTS (SELECT FROM graphile_worker._private_jobs) AS gone')
    if (rows[0].gone) break
  }
  const seconds = (performance.now() - started) / 1000
  await runner.stop()
  await pool.end()
  return count / seconds
}

async function boss() {
  const boss = new PgBoss({ connectionString: url, max: LOOPS, supervise: false, schedule: false })
  await boss.start()
  await boss.createQueue('noop')
  for (let left = count; left > 0; left -= 1000) {
    await boss.insert(Array.from({ length: Math.min(left, 1000) }, () => ({ name: 'noop' })))
  }
  const begun = performance.now()
  let done = 0
  const work = async () => {
    for (;;) {
      const jobs = await boss.fetch('noop', { batchSize: BATCH })
      if (!jobs?.length) return
      await boss.complete('noop', jobs.map((job) => job.id))
      done += jobs.length
    }
  }
  await Promise.all(Array.from({ length: LOOPS }, work))
  const seconds = (performance.now() - begun) / 1000
  if (done !== count) throw new Error(`pg-boss did ${done} of ${count} jobs`)
  await boss.stop({ graceful: false })
  return count / seconds
}

console.log(JSON.stringify({ graphile: await graphile(), boss: await boss() }))
process.exit(0)
