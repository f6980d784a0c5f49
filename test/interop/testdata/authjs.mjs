// The real Auth.js, @auth/core from npm, behind a plain HTTP server, for the
// tests of package interop. It serves any number of sites, each with its own
// configuration, in-memory adapter and trace.
//
// A request names its site in the header x-interop-site. POST /__interop/ID/…
// controls one: create (the configuration as JSON), does (change what its
// callbacks do), seed (rows), take (the trace since the last take, as JSON).
//
// When it listens it prints a line "ready ADDRESS". It ends when standard input
// closes, so that it cannot outlive the test that started it.
import { createServer } from 'node:http';

import { Auth } from '@auth/core';
import { AccessDenied, CredentialsSignin } from '@auth/core/errors';
import GitHub from '@auth/core/providers/github';
import Google from '@auth/core/providers/google';
import Passkey from '@auth/core/providers/passkey';
import WebAuthn from '@auth/core/providers/webauthn';

// newAdapter returns an adapter as the official SQL adapters are: it makes its
// own ids, returns every column, null where there is nothing, and forgets what
// it deletes. What it wrote is told to site.
function newAdapter(site) {
  const users = new Map();
  const accounts = new Map();
  const sessions = new Map();
  const links = new Map();
  const keys = new Map(); // passkeys by credential id
  const columns = (u) => ({ id: u.id, name: u.name ?? null, email: u.email ?? null, emailVerified: u.emailVerified ?? null, image: u.image ?? null });
  const key = (a) => `${a.provider}\n${a.providerAccountId}`;
  const byID = (id) => (users.has(id) ? { ...users.get(id) } : null);
  const date = (d) => (d ? new Date(d) : null);
  site.seed = (rows) => {
    for (const u of rows.users ?? []) users.set(u.id, columns({ ...u, emailVerified: date(u.emailVerified) }));
    for (const a of rows.accounts ?? []) accounts.set(key(a), a);
    for (const s of rows.sessions ?? []) sessions.set(s.sessionToken, { ...s, expires: date(s.expires) });
    for (const k of rows.authenticators ?? []) keys.set(k.credentialID, k);
    for (const l of rows.links ?? []) links.set(l.token, { ...l, expires: date(l.expires) });
  };
  const methods = {
    createUser(u) {
      const row = columns({ ...u, id: crypto.randomUUID() });
      users.set(row.id, row);
      site.write('createUser', row);
      return { ...row };
    },
    getUser: (id) => byID(id),
    getUserByEmail: (email) => [...users.values()].map((u) => ({ ...u })).find((u) => u.email === email) ?? null,
    getUserByAccount: (a) => byID(accounts.get(key(a))?.userId),
    updateUser(u) {
      const row = { ...users.get(u.id), ...u };
      users.set(u.id, row);
      site.write('updateUser', u);
      return { ...row };
    },
    deleteUser(id) {
      users.delete(id);
    },
    linkAccount(a) {
      accounts.set(key(a), { ...a });
      site.write('linkAccount', a);
    },
    unlinkAccount(a) {
      accounts.delete(key(a));
    },
    createSession(s) {
      sessions.set(s.sessionToken, { ...s });
      site.write('createSession', s);
      return { ...s };
    },
    getSessionAndUser(token) {
      const session = sessions.get(token);
      const user = session && byID(session.userId);
      return user ? { session: { ...session }, user } : null;
    },
    updateSession(s) {
      const row = { ...sessions.get(s.sessionToken), ...s };
      sessions.set(s.sessionToken, row);
      site.write('updateSession', s);
      return { ...row };
    },
    deleteSession(token) {
      const row = sessions.get(token);
      if (row) site.write('deleteSession', {});
      sessions.delete(token);
    },
    createVerificationToken(l) {
      links.set(l.token, { ...l });
      site.write('createVerificationToken', l);
      return { ...l };
    },
    useVerificationToken({ identifier, token }) {
      const row = links.get(token);
      if (!row || (identifier && row.identifier !== identifier)) return null;
      links.delete(token);
      site.write('useVerificationToken', { identifier: row.identifier, token: row.token });
      return { ...row };
    },
  };
  Object.assign(methods, {
    getAccount: (id, provider) => accounts.get(key({ provider, providerAccountId: id })) ?? null,
    getAuthenticator: (id) => keys.get(id) ?? null,
    createAuthenticator(k) {
      keys.set(k.credentialID, { ...k });
      site.write('createAuthenticator', k);
      return { ...k };
    },
    listAuthenticatorsByUserId: (id) => [...keys.values()].filter((k) => k.userId === id),
    updateAuthenticatorCounter(credentialID, counter) {
      const row = { ...keys.get(credentialID), counter };
      keys.set(credentialID, row);
      site.write('updateAuthenticatorCounter', { credentialID, counter });
      return row;
    },
  });
  const adapter = {};
  for (const [name, fn] of Object.entries(methods)) {
    adapter[name] = async (...args) => {
      if (site.does.fail?.includes(name)) throw new Error(`${name} fails`);
      return fn(...args);
    };
  }
  return adapter;
}

// sharedAdapter returns an adapter on the store of another program, at address.
function sharedAdapter(address) {
  const revive = (name, value) => ((name === 'expires' || name === 'emailVerified') && value ? new Date(value) : value);
  const adapter = {};
  for (const name of ['createUser', 'getUser', 'getUserByEmail', 'getUserByAccount', 'updateUser', 'linkAccount', 'createSession',
    'getSessionAndUser', 'updateSession', 'deleteSession', 'createVerificationToken', 'useVerificationToken', 'getAccount',
    'getAuthenticator', 'createAuthenticator', 'listAuthenticatorsByUserId', 'updateAuthenticatorCounter']) {
    adapter[name] = async (...args) => {
      const res = await fetch(`${address}/${name}`, { method: 'POST', body: JSON.stringify(args) });
      const text = await res.text();
      if (!res.ok) throw new Error(text);
      return JSON.parse(text, revive);
    };
  }
  return adapter;
}

// authorize knows what may be typed as the password of the one form.
function authorize(site, credentials) {
  site.call('authorize', { credentials });
  const ada = { id: 'u-ada', name: 'Ada Lovelace', email: 'ada@example.com' };
  switch (credentials.password) {
    case 'right': return ada;
    case 'numeric': return { ...ada, id: 7 };
    case 'no id': return { name: 'Ada Lovelace', email: 'ada@example.com' };
    case 'only id': return { id: 'u-ada' };
    case 'stranger': return { id: 'u-nobody', name: 'Nobody' };
    case 'coded': throw Object.assign(new CredentialsSignin(), { code: 'my code' });
    case 'denied': throw new AccessDenied('not now');
    case 'broken': throw new Error('the directory is down');
  }
  return null;
}

function newProvider(site, p) {
  if (p.kind === 'github') return GitHub({ clientId: 'app', clientSecret: 'secret' });
  if (p.kind === 'google') return Google({ clientId: 'app', clientSecret: 'secret' });
  if (p.kind === 'passkey') return Passkey({});
  if (p.kind === 'webauthn') return WebAuthn({});
  if (p.kind === 'credentials') {
    return {
      id: p.id, name: p.name, type: 'credentials',
      credentials: { username: { label: 'User name' }, password: { label: 'Password', type: 'password' } },
      authorize: (credentials) => authorize(site, credentials),
    };
  }
  if (p.kind === 'email') {
    return {
      id: p.id, name: p.name, type: 'email', from: 'Site <no-reply@example.com>', maxAge: p.maxAge,
      async sendVerificationRequest({ identifier, url }) {
        if (site.does.mail === 'throw') {
          await new Promise((resolve) => { setTimeout(resolve, 5); });
          throw new Error('the mail server is down');
        }
        site.call('mail', { to: identifier, url });
      },
    };
  }
  const out = {
    id: p.id, name: p.name, type: p.kind, issuer: p.issuer, clientId: p.clientID, clientSecret: p.clientSecret,
    checks: p.checks, idToken: p.userinfoProfile ? false : undefined,
    client: p.clientAuth ? { token_endpoint_auth_method: p.clientAuth } : undefined,
    allowDangerousEmailAccountLinking: p.link,
    authorization: p.authURL || p.params ? { ...(p.authURL && { url: p.authURL }), params: Object.fromEntries(p.params ?? []) } : undefined,
    token: p.tokenURL, userinfo: p.userinfoURL,
  };
  if (p.profile === 'throw') out.profile = () => { throw new Error('the profile cannot be read'); };
  if (p.profile === 'fields') out.profile = (f) => ({ id: f.id, name: f.name, email: f.email, image: f.picture });
  if (p.profile === 'no id') out.profile = (f) => ({ name: f.name, email: f.email });
  if (p.account === 'none') out.account = () => {};
  return Object.fromEntries(Object.entries(out).filter(([, v]) => v !== undefined));
}

function newCallbacks(site) {
  const does = (name) => site.does[name] ?? '';
  const fail = (name) => { if (does(name) === 'throw') throw new Error(`${name} fails`); };
  const callbacks = {
    async signIn(params) {
      site.call('signIn callback', params);
      fail('signIn');
      if (does('signIn') === 'deny') return false;
      if (does('signIn') === 'credentials') throw Object.assign(new CredentialsSignin(), { code: 'my code' });
      return does('signIn').startsWith('to ') ? does('signIn').slice(3) : true;
    },
    async jwt(params) {
      site.call('jwt callback', params);
      fail('jwt');
      const [what, n] = does('jwt').split(' ');
      const token = { ...params.token };
      switch (what) {
        case 'null': return null;
        case 'role': token.role = 'admin'; break;
        case 'big': token.big = 'x'.repeat(Number(n)); break;
        case 'small': delete token.big; break;
        case 'merge': if (params.trigger === 'update') Object.assign(token, params.session); break;
      }
      return token;
    },
    async session(params) {
      site.call('session callback', params);
      fail('session');
      const { name, email, image } = params.session.user ?? {};
      const out = { user: { name, email, image }, expires: params.session.expires?.toISOString?.() ?? params.session.expires };
      if (does('session') === 'role') out.role = params.token?.role ?? 'reader';
      return out;
    },
  };
  if (site.does.redirect) {
    callbacks.redirect = async ({ url, baseUrl }) => {
      site.call('redirect callback', { url, baseUrl });
      fail('redirect');
      if (does('redirect').startsWith('to ')) return does('redirect').slice(3);
      if (url.startsWith('/')) return `${baseUrl}${url}`;
      return new URL(url).origin === baseUrl ? url : baseUrl;
    };
  }
  return callbacks;
}

function newEvents(site) {
  const events = {};
  for (const name of ['signIn', 'signOut', 'createUser', 'updateUser', 'linkAccount', 'session']) {
    events[name] = async (message) => {
      site.call(`${name} event`, message);
      if (site.does.slow) {
        await new Promise((resolve) => { setTimeout(resolve, site.does.slow); });
        site.call(`${name} event ends`, {});
      }
      if (site.does.events === 'change' && message.session) message.session.changed = true;
      if (site.does.events === 'throw') throw new Error(`handler of ${name} fails`);
    };
  }
  return events;
}

function newSite(spec) {
  const site = { origin: spec.origin, does: spec.does ?? {}, trace: [] };
  site.tell = (kind, name, payload) => site.trace.push({ kind, name, payload: JSON.parse(JSON.stringify(payload)) });
  site.call = (name, payload) => site.tell('call', name, payload);
  site.write = (name, row) => site.tell('write', name, row);
  const log = (level) => (e) => site.tell('log', level, { type: e?.type ?? e?.name ?? String(e), text: String(e?.cause?.err ?? e?.message ?? '') });
  site.config = {
    secret: spec.secrets.length === 1 ? spec.secrets[0] : spec.secrets,
    trustHost: spec.trustHost ?? true,
    providers: spec.providers.map((p) => newProvider(site, p)),
    session: spec.session, jwt: spec.jwt, pages: spec.pages ?? {}, theme: spec.theme ?? {},
    logger: { error: log('error'), warn: log('warn'), debug() {} },
  };
  if (spec.basePath) site.config.basePath = spec.basePath;
  if (spec.adapter) site.config.adapter = spec.store ? sharedAdapter(spec.store) : newAdapter(site);
  if (spec.cookies) site.config.cookies = spec.cookies;
  if (spec.useSecureCookies !== undefined) site.config.useSecureCookies = spec.useSecureCookies;
  if (spec.redirectProxy) site.config.redirectProxyUrl = spec.redirectProxy;
  if (spec.providers.some((p) => p.kind === 'passkey' || p.kind === 'webauthn')) site.config.experimental = { enableWebAuthn: true };
  if (!spec.plain) Object.assign(site.config, { callbacks: newCallbacks(site), events: newEvents(site) });
  return site;
}

async function read(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts);
}

function control(sites, path, body) {
  const [, id, what] = path.slice(1).split('/');
  const site = sites.get(id);
  switch (what) {
    case 'create': sites.set(id, newSite(JSON.parse(body))); return {};
    case 'does': Object.assign(site.does, JSON.parse(body)); return {};
    case 'seed': site.seed(JSON.parse(body)); return {};
    case 'take': return site.trace.splice(0);
    case 'drop': sites.delete(id); return {};
  }
  throw new Error(`no control route ${path}`);
}

async function serve(sites, req, res) {
  const body = await read(req);
  if (req.url.startsWith('/__interop/')) {
    res.end(JSON.stringify(control(sites, req.url, body.toString())));
    return;
  }
  const site = sites.get(req.headers['x-interop-site']);
  const headers = new Headers();
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    if (req.rawHeaders[i].toLowerCase() !== 'x-interop-site') headers.append(req.rawHeaders[i], req.rawHeaders[i + 1]);
  }
  const answer = await Auth(new Request(site.origin + req.url, {
    method: req.method, headers, body: body.length ? body : undefined,
  }), site.config);
  res.statusCode = answer.status;
  for (const [name, value] of answer.headers) if (name !== 'set-cookie') res.setHeader(name, value);
  const cookies = answer.headers.getSetCookie();
  if (cookies.length) res.setHeader('set-cookie', cookies);
  res.end(Buffer.from(await answer.arrayBuffer()));
}

// A sender that fails at once leaves a promise that Auth.js looks at late.
process.on('unhandledRejection', () => {});

const sites = new Map();
const server = createServer((req, res) => {
  serve(sites, req, res).catch((err) => {
    console.error(err);
    res.statusCode = 599;
    res.end(String(err?.stack));
  });
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(`ready 127.0.0.1:${server.address().port}`));

process.stdin.on('end', () => process.exit(0)).resume();
