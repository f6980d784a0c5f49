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
// POST /site makes an Auth.js application on the adapter, served under /auth: the
// body has the secret, the OpenID provider (issuer, clientId, clientSecret) and
// the session's options. GET /mail answers with the magic links it sent so far.
//
// When it listens it prints a line "ready ADDRESS". It ends when standard input
// closes, so that it cannot outlive the test that started it.
import { createServer } from 'node:http';

import { Auth } from '@auth/core';

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

const links = [];
let site;

function newSite({ secret, provider, session }) {
  return {
    adapter, secret, session, basePath: '/auth', trustHost: true,
    providers: [
      { id: 'op', name: 'Op', type: 'oidc', checks: ['pkce', 'state', 'nonce'], ...provider },
      { id: 'email', name: 'Email', type: 'email', from: 'no-reply@example.com', maxAge: 86400, sendVerificationRequest: ({ url }) => { links.push(url); } },
    ],
    logger: { error: (err) => console.error(err.type ?? err.name, String(err.cause?.err?.message ?? '')), warn() {}, debug() {} },
  };
}

async function visit(req, res, body) {
  const answer = await Auth(new Request(`http://${req.headers.host}${req.url}`, {
    method: req.method, headers: req.headers, body: body.length ? body : undefined,
  }), site);
  res.statusCode = answer.status;
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') res.setHeader(name, value);
  res.setHeader('set-cookie', answer.headers.getSetCookie());
  res.end(Buffer.from(await answer.arrayBuffer()));
}

async function answer(room, method, body) {
  switch (room) {
    case 'adapter': return call(method, JSON.parse(body, untag));
    case 'site': site = newSite(JSON.parse(body)); return null;
    case 'mail': return links;
  }
  throw new Error(`no route /${room}`);
}

const server = createServer(async (req, res) => {
  const body = await read(req);
  const [, room, method] = req.url.split('/');
  try {
    if (room === 'auth') {
      await visit(req, res, body);
      return;
    }
    res.end(JSON.stringify({ value: tag(await answer(room, method, body)) }));
  } catch (err) {
    res.statusCode = 500;
    res.end(JSON.stringify({ error: `${err?.cause?.message ?? ''} ${err?.stack ?? err}` }));
  }
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(`ready 127.0.0.1:${server.address().port}`));

process.stdin.on('end', () => process.exit(0)).resume();
