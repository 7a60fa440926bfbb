// A week of a team, for pictures: the real gateway, told by libfaketime that it is another hour, and by nss_wrapper that
// services have names. Nothing here is random: the same week each time, up to now.

import { existsSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { APPROVER, PASSWORD, POLICY, SECOND, Stage } from "./stage.mjs";

const DEBIAN = process.env.BROWSER_DEBIAN;
const DAY = 86_400;
const DOMAIN = "northwind.internal";

const TEAM_POLICY = POLICY.replace(
  "    approve:\n      - name: big refunds",
  `      - { service: tickets, tools: ["search_*", "read_*", "comment_*"], risk: ignore }
      - { service: wiki, tools: ["search_*", "read_*"] }
      - { service: notes, tools: ["read_*", "list_*"] }
    approve:
      - { name: wiki edits, service: wiki, tools: ["update_*"] }
      - name: big refunds`,
)
  .replace(
    '      - { service: crm, requests: ["GET /contacts/**"], read: true }\ndeny',
    '      - { service: crm, requests: ["GET /contacts/**"], read: true }\n      - { service: tickets, tools: ["search_*", "read_*"], risk: ignore }\ndeny',
  )
  // Limits look at how long a moment really takes, and here days go by in seconds.
  .replace(
    "  per_key: 600/1m\n  per_tool: 300/1m\n",
    '  per_key: 3000/1m\n  per_tool: 1500/1m\n  overrides:\n    - { service: tickets, tools: ["search_*"], limit: 60/1m }\n',
  );

// Who calls, how much of all calls (of a hundred), and what.
const CALLERS = [
  ["crm-sync", "user", "crm", 34, (n) => ["GET", "crm", `/contacts/${18_000 + (n % 900)}`]],
  ["support-triage", "user", "tickets", 22, (n) => [["search_tickets", "read_ticket", "read_ticket", "comment_ticket"][n % 4], { ticket: `SUP-${20_400 + (n % 600)}` }]],
  ["support-refunds", "user", "billing", 16, (n) => ["GET", "billing", `/v1/charges/ch_${3_000 + (n % 700)}`]],
  ["invoice-match", "user", "billing", 11, (n) => ["GET", "billing", `/v1/invoices/in_${8_000 + (n % 400)}`]],
  ["docs-writer", "user", "wiki", 8, (n) => [["search_pages", "read_page"][n % 2], { page: `runbooks/${["deploys", "on-call", "refunds", "access"][n % 4]}` }]],
  ["ops-oncall", "readonly", "crm,tickets", 6, (n) => ["GET", "crm", `/contacts/${18_000 + (n % 50)}`]],
  // What is refused, now and then: no rule, a deny rule, another's service.
  ["ops-oncall", null, null, 1, (n) => ["DELETE", "crm", `/contacts/${n % 7}`]],
  ["support-refunds", null, null, 1, () => ["POST", "billing", "/v1/payouts", { amount: 1 }]],
  ["crm-sync", null, null, 1, () => ["GET", "billing", "/v1/charges"]],
];

// What waited for a person: how long ago (days), what it was, and who said what after how many minutes.
const HELD = [
  [6.3, "support-refunds", ["POST", "billing", "/v1/refunds", { amount: 45, charge: "ch_3104", reason: "returned" }], [[APPROVER, "approve", "Parcel is back, SUP-20417.", 6]]],
  [6.1, "docs-writer", ["update_page", { page: "runbooks/deploys", text: "Roll back with the same tag." }], [[SECOND, "approve", "Reads right.", 3]]],
  [5.2, "support-refunds", ["POST", "billing", "/v1/refunds", { amount: 2400, charge: "ch_3188", reason: "duplicate" }], [[APPROVER, "approve", "Two charges visible.", 4], [SECOND, "approve", "Confirmed with the bank.", 21]]],
  [5.0, "crm-sync", ["PATCH", "crm", "/contacts/18077", { owner: "lena" }], [[SECOND, "deny", "Lena left the team.", 11]]],
  [4.2, "support-refunds", ["POST", "billing", "/v1/refunds", { amount: 89, charge: "ch_3201", reason: "duplicate" }], []],
  [3.3, "crm-sync", ["PATCH", "crm", "/contacts/18120", { lifecyclestage: "customer" }], [[APPROVER, "approve", "Invoice is paid.", 2]]],
  [2.1, "support-refunds", ["POST", "billing", "/v1/refunds", { amount: 300, charge: "ch_3277", reason: "goodwill" }], [[APPROVER, "deny", "Goodwill is up to 50 EUR.", 9]]],
  [1.2, "docs-writer", ["update_page", { page: "runbooks/on-call", text: "Page the second after 10 minutes." }], [[APPROVER, "approve", "Agreed in the review.", 14]]],
  [0.9, "support-refunds", ["POST", "billing", "/v1/refunds", { amount: 62, charge: "ch_3290", reason: "returned" }], [[SECOND, "approve", "Parcel is back, SUP-20904.", 5]]],
  [0.2, "crm-sync", ["PATCH", "crm", "/contacts/18333", { phone: "+49 40 555 0134" }], [[SECOND, "approve", "Matches the signature.", 8]]],
];

const TOOLS = {
  tickets: ["search_tickets: Finds tickets by words, newest first.", "read_ticket: Reads one ticket with its comments.", "comment_ticket: Adds an internal comment.", "close_ticket: Closes a ticket for good."],
  wiki: ["search_pages: Finds pages by words.", "read_page: Reads one page as Markdown.", "update_page: Replaces the text of a page."],
};

// A stage on which that week has passed, and its end.
export async function openWeek() {
  const folder = await mkdtemp(join(tmpdir(), "toolgate-week-"));
  const week = { clock: join(folder, "clock"), turn: 0, number: 7, back: 8 * DAY };
  const names = join(folder, "hosts");
  await writeFile(names, ["billing", "crm", "tickets", "wiki", "notes"].map((name) => `127.0.0.1 ${name}.${DOMAIN}\n`).join(""));
  await set(week, 8 * DAY);
  const stage = await Stage.open({ agents: false, policy: TEAM_POLICY, around: surroundings(week.clock, names), domain: DOMAIN, port: 8080 });
  try {
    await furnish(stage, week);
    await pass(stage, week);
  } catch (error) {
    await stage.close();
    throw error;
  }
  return { stage, close: async () => (await stage.close(), await rm(folder, { recursive: true, force: true })) };
}

function surroundings(clock, names) {
  const libraries = `${DEBIAN}/usr/lib/x86_64-linux-gnu`;
  const preload = [`${libraries}/faketime/libfaketimeMT.so.1`, `${libraries}/libnss_wrapper.so`];
  for (const library of preload) if (!existsSync(library)) throw new Error(`${library} is not there; pictures are made by: cargo xtask screenshots`);
  return {
    LD_PRELOAD: preload.join(" "),
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: "1",
    // Only what calendars say is other: waiting takes as long as ever.
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
    NSS_WRAPPER_HOSTS: names,
    TOOLGATE_GATEWAY_HOLD: "10ms",
  };
}

// So many seconds ago, for the gateway.
async function set(week, back) {
  week.back = back;
  // In one piece: the gateway reads it whenever it wants to know the time.
  await writeFile(`${week.clock}.new`, back ? `-${Math.round(back)}\n` : "+0\n");
  await rename(`${week.clock}.new`, week.clock);
}

async function furnish(stage, week) {
  stage.api.takes = (asked) => ((week.down && asked.headers.host.startsWith("crm")) ? null : 2 + chance(week, 18) + (chance(week, 60) === 0 ? 140 : 0));
  for (const name of Object.keys(TOOLS)) {
    const tools = TOOLS[name].map((line) => {
      const [tool, description] = line.split(": ");
      return { name: tool, description, inputSchema: { type: "object" } };
    });
    await stage.serveTools(tools, name);
  }
  for (const [agent, role, scope] of CALLERS) {
    if (role) stage.keys[agent] = await stage.key(agent, role, scope);
  }
  week.tools = { "support-triage": await stage.client("support-triage", "tickets"), "docs-writer": await stage.client("docs-writer", "wiki") };
  for (const ask of Object.values(week.tools)) await ask("tools/list");
  week.tokens = {};
  for (const email of [APPROVER, SECOND]) {
    week.tokens[email] = (await stage.toolgate(["operators", "token", email, "--password-stdin"], PASSWORD)).trim();
  }
}

// From a week ago until now: in steps of two hours, of a quarter of an hour, of a minute.
async function pass(stage, week) {
  const held = [...HELD];
  for (let back = 7 * DAY - 3_600; back > 0; ) {
    const step = back > DAY ? 7_200 : back > 3_600 ? 900 : 60;
    await set(week, back);
    // Thursday morning, the CRM was away for two hours.
    week.down = back <= 4 * DAY + 3_600 && back > 4 * DAY - 3_600;
    await calls(stage, week, (busy(back) * step) / 3_600);
    while (held.length && held[0][0] * DAY >= back - step) await decided(stage, week, held.shift());
    back = Math.min(back, week.back) - step;
  }
  await set(week, 0);
}

// How many calls there are in an hour: people sleep, and have weekends.
function busy(back) {
  const at = new Date(Date.now() - back * 1_000);
  const hour = at.getUTCHours() + at.getUTCMinutes() / 60;
  const day = Math.exp(-(((hour - 10) / 2.6) ** 2)) + 0.8 * Math.exp(-(((hour - 15) / 2.4) ** 2));
  return 4 + 40 * day * ([0, 6].includes(at.getUTCDay()) ? 0.2 : 1);
}

// The same numbers each time (Numerical Recipes' generator).
function chance(week, below) {
  week.number = (Math.imul(week.number, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((week.number / 2 ** 32) * below);
}

async function calls(stage, week, wanted) {
  const count = Math.floor(wanted * (0.75 + chance(week, 50) / 100) + chance(week, 100) / 100);
  const asked = Array.from({ length: count }, () => {
    let left = chance(week, 100);
    const [agent, , , , what] = CALLERS.find(([, , , share]) => (left -= share) < 0);
    return [agent, what((week.turn += 1))];
  });
  for (let from = 0; from < asked.length; from += 4) {
    await Promise.all(asked.slice(from, from + 4).map(([agent, words]) => call(stage, week, agent, words)));
  }
}

// `GET` and where to, or a tool and its arguments.
async function call(stage, week, agent, words) {
  if (words[0] === words[0].toUpperCase()) return stage.call(agent, ...words);
  return week.tools[agent]("tools/call", { name: words[0], arguments: words[1] });
}

async function decided(stage, week, [, agent, words, decisions]) {
  const answer = await call(stage, week, agent, words);
  const id = JSON.stringify(answer).match(/ap_[0-9a-z]{10}/)[0];
  for (const [email, decision, reason, minutes] of decisions) {
    await set(week, week.back - minutes * 60);
    const ask = async (path, body) => {
      const told = await fetch(`${stage.url}/api/approvals/${id}${path}`, {
        method: body ? "POST" : "GET",
        headers: { authorization: `Bearer ${week.tokens[email]}`, "content-type": "application/json" },
        body: body && JSON.stringify(body),
      });
      if (!told.ok) throw new Error(`${path}: ${told.status} ${await told.text()}`);
      return told.json();
    };
    const { digest } = await ask("");
    await ask(`/${decision}`, { digest, reason });
  }
  // The agent fetches what it asked for.
  await call(stage, week, agent, words);
}
