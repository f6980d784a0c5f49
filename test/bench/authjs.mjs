// Auth.js, @auth/core from npm, as the bench measures it beside Gatebook: its
// Auth() behind Node's own HTTP server, with nothing in between, and its sessions
// in a Map. The argument is JSON: {strategy, sessions}; the secret, the people and
// the providers are those of the other side (site.go).
//
// When it listens it prints {"Port": n} and ends when standard input closes.
import { createServer } from 'node:http';

import { Auth } from '@auth/core';

const { strategy, sessions } = JSON.parse(process.argv[2]);
const origin = 'https://app.example.com';

function person(i) {
  const n = String(i).padStart(8, '0');
  return {
    id: `7d8a1f6e-52b0-4c39-9a41-0000${n}`, name: `Person ${n}`, email: `person.${n}@example.com`, emailVerified: null,
    image: `https://img.example.com/u/${n}.png`,
  };
}

function newAdapter() {
  const rows = new Map();
  const expires = new Date(Date.now() + 30 * 24 * 3600 * 1000 - 60000);
  for (let i = 0; i < sessions; i += 1) {
    const sessionToken = `4e1dcb0a-93c4-4b7f-8c53-0000${String(i).padStart(8, '0')}`;
    rows.set(sessionToken, { session: { sessionToken, userId: person(i).id, expires }, user: person(i) });
  }
  const none = async () => null;
  return {
    getSessionAndUser: async (token) => rows.get(token) ?? null,
    createUser: none, getUser: none, getUserByEmail: none, getUserByAccount: none, updateUser: none, linkAccount: none,
    createSession: none, updateSession: none, deleteSession: none,
  };
}

const config = {
  secret: 'benchmarks have no secrets; this is 32 characters long or more',
  trustHost: true,
  session: { strategy },
  adapter: strategy === 'database' ? newAdapter() : undefined,
  providers: [
    { id: 'instant', name: 'Instant', type: 'oidc', issuer: 'https://idp.example.com', clientId: 'c', clientSecret: 's' },
    { id: 'typed', name: 'Typed', type: 'credentials', credentials: { number: {} }, authorize: (form) => person(Number(form.number)) },
  ],
};

const server = createServer(async (req, res) => {
  let body;
  if (req.method === 'POST') {
    const parts = [];
    for await (const part of req) parts.push(part);
    body = Buffer.concat(parts);
  }
  const answer = await Auth(new Request(origin + req.url, { method: req.method, headers: req.headers, body }), config);
  const headers = {};
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') headers[name] = value;
  const cookies = answer.headers.getSetCookie();
  if (cookies.length) headers['set-cookie'] = cookies;
  const text = await answer.text();
  headers['content-length'] = Buffer.byteLength(text);
  res.writeHead(answer.status, headers);
  res.end(text);
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ Port: server.address().port })));
process.stdin.on('end', () => process.exit(0)).resume();
