package pages

// Message returns the text that tells a visitor what an error code of the
// sign-in page means, in English, and none for none. A code that is not known
// gets a general text.
//
// The codes are those of Auth.js v5, and so are the texts for which it has one.
// Where it has only the general one, what a visitor can do about it is said.
func Message(code string) string {
	switch code {
	case "":
		return ""
	case "Signin", "OAuthSignin", "OAuthCallbackError", "OAuthCreateAccount", "EmailCreateAccount", "Callback":
		return "Try signing in with a different account."
	case "OAuthAccountNotLinked", "AccountNotLinked":
		return "To confirm your identity, sign in with the same account you used originally."
	case "EmailSignin":
		return "The e-mail could not be sent."
	case "CredentialsSignin":
		return "Sign in failed. Check the details you provided are correct."
	case "SessionRequired":
		return "Please sign in to access this page."
	case "MissingCSRF":
		return "The page was open for too long. Please try again."
	case "WebAuthnVerificationError":
		return "The passkey could not be verified. Please try again."
	case "AccessDenied":
		return "You do not have permission to sign in."
	case "Verification":
		return "The sign in link is no longer valid. It may have been used already or it may have expired."
	case "Configuration":
		return "There is a problem with the server configuration."
	}
	return "Unable to sign in."
}
