// BullMQ's worker and producer, for benchmarks/peers/bullmq.py; the clock is that of clock.py.
import { Queue, Worker } from 'bullmq';
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

const [, , what, kind, count, at, value] = process.argv;
const { hostname: host, port, pathname } = new URL(process.env.PEER_URL);
const connection = { host, port: Number(port), db: Number(pathname.slice(1) || 0), maxRetriesPerRequest: null };
const now = () => Number(process.hrtime.bigint()) / 1e9; // CLOCK_MONOTONIC, as time.monotonic()
const sleep = (s) => new Promise((done) => setTimeout(done, s * 1000));
const options = { removeOnComplete: true, attempts: 1 };

function clock() {
  const expect = Number(process.env.CLOCK_EXPECT || 0), out = process.env.CLOCK_OUT;
  let calls = 0, first = 0, used = 0;
  const waits = [];
  const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
  const begin = () => { if (!first) { first = now(); used = cpu(); } };
  const count = () => {
    if (++calls !== expect) return;
    const found = { calls, first, last: now(), cpu_s: cpu() - used, rss_bytes: process.memoryUsage().rss, waits_s: waits };
    writeFileSync(`${out}.part`, JSON.stringify(found));
    renameSync(`${out}.part`, out);
  };
  const starts = () => {
    appendFileSync(`${out}.starts`, `${now()}\n`);
    return readFileSync(`${out}.starts`, 'utf8').trim().split('\n').length;
  };
  return { begin, count, waits, starts };
}

async function work() {
  const { begin, count, waits, starts } = clock();
  const bodies = {
    noop: async () => { begin(); count(); },
    stamped: async (sent) => { waits.push(now() - sent); begin(); count(); },
    wait: async (s) => { begin(); count(); await sleep(s); },
    mix: async (s) => { begin(); await sleep(s); count(); },
    hang: async () => { if (starts() === 1) await sleep(600); },
  };
  const worker = new Worker('bench', (job) => bodies[job.name](job.data.value), { connection, concurrency: Number(process.env.PEER_SLOTS) });
  worker.on('error', (error) => console.error(error.message));
}

async function push() {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const values = value ? value.split(',').map(Number) : [0];
  const before = now();
  const total = Number(count);
  if (at === 'many') {
    for (let done = 0; done < total; done += 1000) {
      const jobs = Array.from({ length: Math.min(1000, total - done) }, (_, i) => ({ name: kind, data: { value: values[(done + i) % values.length] }, opts: options }));
      await queue.addBulk(jobs);
    }
  } else if (at === 'one') {
    for (let i = 0; i < total; i++) await queue.add(kind, { value: values[i % values.length] }, options);
  } else {
    for (let i = 0; i < total; i++) {
      while (now() < before + i / Number(at)) await sleep(Math.max(0, before + i / Number(at) - now()));
      await queue.add(kind, { value: now() }, options);
    }
  }
  console.log(JSON.stringify({ count: total, took_s: now() - before }));
  await queue.close();
  process.exit(0);
}

await (what === 'work' ? work() : push());
