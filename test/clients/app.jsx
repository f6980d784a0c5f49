// A page of an application that uses the client of next-auth, v5 or v4, whichever
// the bundler puts in the place of "next-auth/react". Tests call what the client
// exports (window.client) and look at what the page shows.
import { createRoot } from "react-dom/client";
import * as client from "next-auth/react";

// What the client complains of, first words only.
const complaints = [];
console.error = (first) => complaints.push(String(first?.name ?? first).split("\n")[0]);

function Page({ required }) {
  const session = client.useSession({ required });
  Object.assign(window, { client, complaints, session });
  return <h1 id="who" data-status={session.status}>{session.data?.user?.email ?? "nobody"}</h1>;
}

const root = document.getElementById("root");
createRoot(root).render(
  <client.SessionProvider refetchOnWindowFocus={false} basePath={root.dataset.base}>
    <Page required={location.pathname === "/members"} />
  </client.SessionProvider>,
);
