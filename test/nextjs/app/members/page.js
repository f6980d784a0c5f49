import { auth } from "../../auth.js"

// A page that the middleware guards.
export default async function Members() {
  const session = await auth()
  return <p id="who">{session.user.email}</p>
}
