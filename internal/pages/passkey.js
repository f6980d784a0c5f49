"use strict";
(() => {
  const form = document.querySelector("form[data-options]");
  const note = form.querySelector("[role=alert]");
  const able = window.PublicKeyCredential && navigator.credentials;
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));
  let waiting; // the AbortController of the passkeys that the input offers
  let busy = false; // the button was pressed: no new challenge now

  // ask fetches what the server wants done.
  async function ask(query) {
    const response = await fetch(form.dataset.options + "?" + new URLSearchParams(query), { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error("options: status " + response.status);
    const { action, options } = await response.json();
    options.challenge = bytes(options.challenge);
    if (action === "register") {
      options.user.id = new TextEncoder().encode(options.user.id);
      options.excludeCredentials = named(options.excludeCredentials);
    } else {
      options.allowCredentials = named(options.allowCredentials);
    }
    return { action, options };
  }

  // send posts what the authenticator answered; the browser follows.
  function send(action, credential) {
    const r = credential.response;
    const response = { clientDataJSON: text(r.clientDataJSON) };
    if (action === "register") {
      response.attestationObject = text(r.attestationObject);
      response.transports = r.getTransports ? r.getTransports() : [];
    } else {
      response.authenticatorData = text(r.authenticatorData);
      response.signature = text(r.signature);
      if (r.userHandle) response.userHandle = text(r.userHandle);
    }
    const data = JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response,
      clientExtensionResults: credential.getClientExtensionResults(),
      authenticatorAttachment: credential.authenticatorAttachment || undefined,
    });
    for (const [name, value] of Object.entries({ action, data })) {
      const input = document.createElement("input");
      input.type = "hidden";
      input.name = name;
      input.value = value;
      form.append(input);
    }
    HTMLFormElement.prototype.submit.call(form);
  }

  // offer lets the input propose passkeys, where the browser can.
  async function offer() {
    if (busy) return;
    waiting?.abort();
    const own = waiting = new AbortController();
    try {
      if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
      const { options } = await ask({ action: "authenticate" });
      if (own !== waiting) return;
      send("authenticate", await navigator.credentials.get({ publicKey: options, mediation: "conditional", signal: own.signal }));
    } catch {
      // Nobody asked for it: the button is still there.
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    note.hidden = true;
    waiting?.abort();
    waiting = null;
    try {
      if (!able) throw new DOMException("", "NotSupportedError");
      const query = {};
      for (const input of form.querySelectorAll("[data-form-field]")) {
        if (input.value) query[input.name] = input.value;
      }
      const { action, options } = await ask(query);
      const credential = action === "register"
        ? await navigator.credentials.create({ publicKey: options })
        : await navigator.credentials.get({ publicKey: options });
      send(action, credential);
    } catch (error) {
      note.textContent = {
        NotAllowedError: "No passkey was used. Try again.",
        InvalidStateError: "This device has a passkey for this account already.",
        NotSupportedError: "This browser cannot use passkeys here.",
        SecurityError: "This browser cannot use passkeys here.",
      }[error.name] || "The passkey could not be used. Try again.";
      note.hidden = false;
      busy = false;
      if (able) offer();
    }
  });

  if (able) {
    offer();
    // Another tab of the site, and a quarter of an hour, put an end to the
    // challenge of this one.
    document.addEventListener("visibilitychange", () => document.hidden || offer());
    setInterval(offer, 10 * 60 * 1000);
  }
})();
