import { auth, signIn, signOut } from "../auth.js"

// A server component, with server actions to sign in and out.
export default async function Page() {
  const session = await auth()
  if (!session) {
    async function enter(form) {
      "use server"
      await signIn("credentials", { username: form.get("username"), password: form.get("password"), redirectTo: "/" })
    }
    return (
      <form action={enter}>
        <p id="who">nobody</p>
        <input name="username" aria-label="name" />
        <input name="password" type="password" aria-label="password" />
        <button>Sign in</button>
      </form>
    )
  }
  async function leave() {
    "use server"
    await signOut({ redirectTo: "/" })
  }
  return (
    <form action={leave}>
      <p id="who">{session.user.email}</p>
      <button>Sign out</button>
    </form>
  )
}
