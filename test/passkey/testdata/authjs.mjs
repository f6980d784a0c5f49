// The real Auth.js with passkeys: @auth/core on its Drizzle adapter, whose
// SQLite runs in this process. It serves one site, whose rows GET /rows tells and
// POST /rows adds, as JSON by table.
//
// When it listens it prints a line "ready ADDRESS". It ends when standard input
// closes, so that it cannot outlive the test that started it.
import { createServer } from 'node:http';

import { Auth } from '@auth/core';
import Passkey from '@auth/core/providers/passkey';
import { DrizzleAdapter } from '@auth/drizzle-adapter';
import { drizzle } from 'drizzle-orm/sql-js';
import initSqlJs from 'sql.js';

// The tables as the adapter's documentation gives them.
const schema = `
CREATE TABLE user (id text PRIMARY KEY NOT NULL, name text, email text UNIQUE, emailVerified integer, image text);
CREATE TABLE account (userId text NOT NULL REFERENCES user (id) ON DELETE CASCADE, type text NOT NULL, provider text NOT NULL,
  providerAccountId text NOT NULL, refresh_token text, access_token text, expires_at integer, token_type text, scope text, id_token text,
  session_state text, PRIMARY KEY (provider, providerAccountId));
CREATE TABLE session (sessionToken text PRIMARY KEY NOT NULL, userId text NOT NULL REFERENCES user (id) ON DELETE CASCADE, expires integer NOT NULL);
CREATE TABLE verificationToken (identifier text NOT NULL, token text NOT NULL, expires integer NOT NULL, PRIMARY KEY (identifier, token));
CREATE TABLE authenticator (credentialID text NOT NULL UNIQUE, userId text NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  providerAccountId text NOT NULL, credentialPublicKey text NOT NULL, counter integer NOT NULL, credentialDeviceType text NOT NULL,
  credentialBackedUp integer NOT NULL, transports text, PRIMARY KEY (userId, credentialID));`;
const shared = ['user', 'account', 'authenticator'];

const SQL = await initSqlJs();
const database = new SQL.Database();
database.exec(schema);

const config = {
  adapter: DrizzleAdapter(drizzle(database)),
  providers: [Passkey],
  experimental: { enableWebAuthn: true },
  session: { strategy: 'jwt' },
  secret: process.env.SECRET,
  basePath: '/auth',
  trustHost: true,
  logger: { error: (e) => console.error(e), warn: () => {}, debug: () => {} },
};

function rows() {
  const tables = {};
  for (const table of shared) {
    const [found] = database.exec(`SELECT * FROM ${table}`);
    tables[table] = (found?.values ?? []).map((values) => Object.fromEntries(values.map((v, i) => [found.columns[i], v])));
  }
  return tables;
}

function add(tables) {
  for (const table of shared) {
    for (const row of tables[table] ?? []) {
      const names = Object.keys(row);
      database.run(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`, Object.values(row));
    }
  }
}

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
  if (req.url === '/rows') {
    if (req.method === 'POST') add(JSON.parse(body));
    res.end(JSON.stringify(rows()));
    return;
  }
  const answer = await Auth(new Request(`http://${req.headers.host}${req.url}`, { method: req.method, headers: req.headers, body }), config);
  res.statusCode = answer.status;
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') res.setHeader(name, value);
  res.setHeader('set-cookie', answer.headers.getSetCookie());
  res.end(await answer.text());
});
server.listen(0, '127.0.0.1', () => console.log('ready', server.address().port));
process.stdin.on('end', () => process.exit());
process.stdin.resume();
