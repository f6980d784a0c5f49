import { auth } from "../../../auth.js"

// The session as a route of the application sees it.
export async function GET() {
  return Response.json(await auth())
}
