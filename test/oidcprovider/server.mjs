// An OpenID provider for interop tests: npm's oidc-provider, in memory, on a
// free loopback port. Package oidcprovider starts it.
//
// The first argument is the client as JSON: {id, secret, redirectURIs, and if
// not the usual ones auth, keys, idTokenAlg}. When it listens it prints a line "ready ISSUER". It ends when standard input
// closes, so it cannot outlive the test that started it.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const client = JSON.parse(process.argv[2]);

const accounts = {
  ada: { name: 'Ada Lovelace', given_name: 'Ada', family_name: 'Lovelace', email: 'ada@example.com', email_verified: true },
  grace: { name: 'Grace Hopper', given_name: 'Grace', family_name: 'Hopper', email: 'grace@example.com', email_verified: false },
};

function signingKey(alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: alg };
}

function configuration() {
  return {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: client.redirectURIs,
      token_endpoint_auth_method: client.auth ?? 'client_secret_basic',
      ...(client.keys && { jwks: client.keys }),
      ...(client.idTokenAlg && { id_token_signed_response_alg: client.idTokenAlg }),
      grant_types: ['authorization_code', 'refresh_token'],
    }],
    jwks: {
      keys: [
        signingKey('RS256', 'rsa', { modulusLength: 2048 }),
        ...(client.idTokenAlg === 'ES256' ? [signingKey('ES256', 'ec', { namedCurve: 'P-256' })] : []),
      ],
    },
    ...(client.idTokenAlg && { enabledJWA: { idTokenSigningAlgValues: ['RS256', client.idTokenAlg] } }),
    cookies: { keys: ['signs the cookies of a provider that lives for one test'] },
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'given_name', 'family_name'],
    },
    // Claims of a scope are in the ID token as well as at the userinfo
    // endpoint, as most providers do and most clients expect.
    conformIdTokenClaims: false,
    findAccount: (_, id) => accounts[id] && {
      accountId: id,
      claims: async () => ({ sub: id, ...accounts[id] }),
    },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    ttl: { Session: 3600, Interaction: 600, Grant: 3600, AccessToken: 600, IdToken: 600, RefreshToken: 3600 },
  };
}

function page(title, fields) {
  return `<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title>
<h1>${title}</h1><form method="post">${fields}
<button name="refuse" value="yes">Refuse</button></form></html>`;
}

const pages = {
  login: () => page('Sign in', Object.entries(accounts)
    .map(([id, a]) => `<button name="account" value="${id}">${a.name}</button>`).join('\n')),
  consent: () => page('Allow access', '<button name="consent" value="yes">Allow</button>'),
};

async function readForm(req) {
  let body = '';
  for await (const chunk of req) body += chunk;
  return new URLSearchParams(body);
}

async function grantAll({ session, params, prompt, grantId }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return grant.save();
}

async function interact(req, res) {
  const details = await provider.interactionDetails(req, res);
  if (req.method !== 'POST') {
    res.setHeader('content-type', 'text/html; charset=utf-8');
    res.end(pages[details.prompt.name]());
    return;
  }
  const form = await readForm(req);
  let result;
  if (form.has('refuse')) {
    result = { error: 'access_denied', error_description: 'the person refused' };
  } else if (details.prompt.name === 'login') {
    if (!accounts[form.get('account')]) {
      res.statusCode = 400;
      res.end('no such account');
      return;
    }
    result = { login: { accountId: form.get('account') } };
  } else {
    result = { consent: { grantId: await grantAll(details) } };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: !result.error });
}

let provider;
const server = createServer((req, res) => {
  if (!req.url.startsWith('/interaction/')) {
    provider.callback()(req, res);
    return;
  }
  interact(req, res).catch((err) => {
    console.error(err);
    res.statusCode = 400;
    res.end(String(err));
  });
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, configuration());
  provider.on('server_error', (_, err) => console.error(err));
  console.log(`ready ${issuer}`);
});

process.stdin.on('end', () => process.exit(0)).resume();
