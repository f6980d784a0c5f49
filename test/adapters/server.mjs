// An official adapter of Auth.js on a real database, for the tests of package
// adapters:
//
//	node server.mjs KIND ADDRESS
//
// POST /adapter/METHOD calls a method of it with a JSON list of arguments and
// answers with {"value": …}, or 500 and {"error": …}; /adapter/ddl answers with
// the statements that make its tables. A date is {"$date": "…Z"}, so that a text
// that looks like one is told apart.
//
// When it listens it prints a line "ready ADDRESS". It ends when standard input
// closes, so that it cannot outlive the test that started it.
import { createServer } from 'node:http';

import { open } from './open.mjs';

const tag = (v) => {
  if (v instanceof Date) return { $date: v.toISOString() };
  if (Array.isArray(v)) return v.map(tag);
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([name, member]) => [name, tag(member)]));
  return v ?? null;
};
const untag = (_, v) => (v && typeof v === 'object' && '$date' in v ? new Date(v.$date) : v);

async function read(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts);
}

const [kind, address] = process.argv.slice(2);
const { adapter, ddl } = await open(kind, address);

async function call(method, args) {
  if (method === 'ddl') return ddl;
  if (!adapter[method]) throw new Error(`the adapter has no ${method}`);
  return adapter[method](...args);
}

const server = createServer(async (req, res) => {
  const body = await read(req);
  const [, room, method] = req.url.split('/');
  try {
    if (room !== 'adapter') throw new Error(`no route ${req.url}`);
    res.end(JSON.stringify({ value: tag(await call(method, JSON.parse(body, untag))) }));
  } catch (err) {
    res.statusCode = 500;
    res.end(JSON.stringify({ error: `${err?.cause?.message ?? ''} ${err?.stack ?? err}` }));
  }
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(`ready 127.0.0.1:${server.address().port}`));

process.stdin.on('end', () => process.exit(0)).resume();
