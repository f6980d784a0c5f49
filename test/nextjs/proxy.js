// What Next.js called the middleware: it runs before a page and sends who is not
// signed in away.
export { auth as proxy } from "./auth.js"

export const config = { matcher: ["/members"] }
