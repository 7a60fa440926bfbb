// The first hour of somebody new, on a phone: from `init` to a call that was held, approved, found again and verified.
// Whatever is done here is done with what the pages themselves say.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";

import { bringIntoView, eventually, openBrowser, OWNER, PASSWORD, POLICY, Stage, text, visit } from "./stage.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

let browser;
let stage;

before(async () => {
  browser = await openBrowser();
  stage = await Stage.open({ newcomer: true });
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

test("the empty console leads to a first agent, a first call, a first yes", async () => {
  const page = await visit(browser, stage, null, { ...PHONE, acceptDownloads: true });
  const tap = (name) => page.getByRole("link", { name }).first().click();

  await page.goto(stage.welcome);
  await page.getByLabel("E-mail").fill(OWNER);
  await page.getByLabel("Password, 12 characters or more").fill(PASSWORD);
  await page.getByLabel("The same again").fill(PASSWORD);
  await page.getByRole("button").first().click();
  await page.getByText("1 of 4 done").waitFor();

  await tap("Add a service");
  await page.getByLabel("Name").fill("billing");
  await page.getByLabel("Address").fill(`http://127.0.0.1:${stage.api.port}`);
  await page.getByLabel("Network").selectOption("private");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("The service is there").waitFor();
  // What the page says comes next: something is allowed on it. The running gateway reads the file by itself.
  await stage.govern(POLICY);

  await page.goto("/");
  await page.getByText("2 of 4 done").waitFor();
  await tap("Make an agent");
  await page.getByLabel("Name").fill("laptop");
  await page.getByLabel("Scope").fill("billing");
  await page.getByLabel("Role").selectOption("user");
  await page.getByRole("button", { name: "Create and show the key" }).click();
  stage.keys.laptop = await page.locator("#new-key").textContent();
  await tap("I have stored it, hide it");

  await page.goto("/");
  await page.getByText("3 of 4 done").waitFor();
  await eventually("the first call comes through", async () => {
    const answer = await stage.call("laptop", "GET", "billing", "/v1/balance");
    return answer.status === 200;
  });
  // The page turns into the overview by itself.
  await page.getByRole("heading", { name: "Overview" }).waitFor();

  const body = { amount: 89, charge: "ch_1042" };
  const id = await stage.hold("laptop", "POST", "billing", "/v1/refunds", body);
  await eventually("the inbox is marked", async () => (await page.title()).startsWith("(1)"));
  await page.goto("/approvals");
  await page.locator(`#${id}`).getByRole("link", { name: "Open" }).click();
  await bringIntoView(page, "#decide");
  const before = stage.api.hits.length;
  await page.getByRole("radio", { name: "Approve" }).check();
  await page.getByRole("button", { name: "Approve and send once" }).click();
  await page.getByText(/Executed, 201/).first().waitFor();
  assert.deepEqual(stage.api.hits.slice(before).map((hit) => JSON.parse(hit.body)), [body]);

  // In the trail, with its hashes.
  await page.goto("/calls?decision=executed-approved");
  await page.locator("tbody a").first().click();
  await page.getByRole("heading", { name: "Events" }).waitFor();
  const shown = await page.content();
  await page.goto("/calls?decision=executed-approved");
  const waiting = page.waitForEvent("download");
  await tap("JSONL");
  const lines = (await text(await (await waiting).path())).trim().split("\n");
  const events = lines.map((line) => JSON.parse(line));
  assert.deepEqual(events.map((event) => event.kind), ["held", "decision", "intent", "outcome"]);
  for (const [place, { hash, seq }] of events.entries()) {
    const record = lines[place].replace(`,"hash":"${hash}"}`, "}");
    assert.equal(createHash("sha256").update(record).digest("hex"), hash, `event ${seq}`);
    assert.ok(shown.includes(`${hash.slice(0, 6)}…${hash.slice(-4)}`), `the page has the hash of event ${seq}`);
  }
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("The trail is whole.").waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
