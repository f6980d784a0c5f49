// Makes session tokens with the libraries themselves and prints each as a line of
// JSON, with the claims that the library's own getToken reads from the cookie,
// or null. Usage: node tokens.mjs SECRET
import * as v5 from "next-auth/jwt"
import v4 from "next-auth-v4/jwt"

const secret = process.argv[2]
const person = { name: "Ada Lovelace", email: "ada@example.com", picture: null, sub: "42", role: "admin", née: "Byron \u2028 \ud83d\ude80" }
const large = { ...person, about: "x".repeat(9000) }

// cookies cuts a token as each library does.
function cookies(name, token, size) {
  if (token.length <= size) return { [name]: token }
  const parts = {}
  for (let i = 0; i * size < token.length; i++) parts[`${name}.${i}`] = token.slice(i * size, (i + 1) * size)
  return parts
}

async function make(version, name, secure, { token = person, salt, ...options } = {}) {
  const cookieName = (secure ? "__Secure-" : "") + (version === 5 ? "authjs" : "next-auth") + ".session-token"
  const lib = version === 5 ? v5 : v4
  const made = await lib.encode({ secret, token, salt: salt ?? (version === 5 ? cookieName : ""), ...options })
  const jar = cookies(cookieName, made, version === 5 ? 3936 : 3933)
  const cookie = Object.entries(jar).map(([n, v]) => `${n}=${v}`).join("; ")
  const req = version === 5 ? { headers: new Headers({ cookie }) } : { headers: { cookie }, cookies: jar }
  let claims = null
  try {
    claims = await lib.getToken({ req, secret, secureCookie: secure })
  } catch {
    // Some say no by throwing.
  }
  console.log(JSON.stringify({ name: `v${version}, ${secure ? "secure" : "plain"}, ${name}`, version, cookie, token: made, claims }))
}

const later = Math.floor(Date.now() / 1000) + 3600
for (const version of [4, 5]) {
  for (const secure of [false, true]) {
    await make(version, "small", secure)
    await make(version, "large", secure, { token: large })
    await make(version, "expired", secure, { maxAge: -60 })
    await make(version, "not yet", secure, { token: { ...person, nbf: later } })
    await make(version, "just expired", secure, { maxAge: -5 })
    await make(version, "of another secret", secure, { secret: "another" })
    await make(version, "of another cookie", secure, { salt: "authjs.state" })
  }
}
