import { headers } from "next/headers"

// The server side of the application asks the API for the visitor: it hands the
// cookies on.
export async function GET() {
  const { cookie } = Object.fromEntries(await headers())
  const res = await fetch(process.env.API + "/api/hello", { headers: { cookie } })
  return new Response(res.body, { status: res.status })
}
