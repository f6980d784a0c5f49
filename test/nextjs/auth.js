// Auth.js as its documentation sets it up: nothing here knows that services in
// Go read the same sessions.
import NextAuth from "next-auth"
import Credentials from "next-auth/providers/credentials"

const people = {
  ada: { id: "1", name: "Ada Lovelace", email: "ada@example.com", role: "admin" },
  bob: { id: "2", name: "Bob", email: "bob@example.com", role: "guest" },
  // Her token does not fit into one cookie.
  grace: { id: "3", name: "Grace Hopper", email: "grace@example.com", role: "admiral", about: "x".repeat(6000) },
}

export const { handlers, auth, signIn, signOut } = NextAuth({
  trustHost: true,
  providers: [
    Credentials({
      credentials: { username: {}, password: { type: "password" } },
      authorize: ({ username, password }) => (password === "right" ? (people[username] ?? null) : null),
    }),
  ],
  callbacks: {
    authorized: ({ auth }) => !!auth,
    jwt({ token, user }) {
      if (user) Object.assign(token, { role: user.role, about: user.about })
      return token
    },
    session({ session, token }) {
      session.user.id = token.sub
      session.user.role = token.role
      return session
    },
  },
})
