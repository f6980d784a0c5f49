// The same page with the client for passkeys beside it.
import { signIn } from "next-auth/webauthn";
import "./app.jsx";

window.passkey = signIn;
