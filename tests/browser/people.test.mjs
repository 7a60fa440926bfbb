// What people do at the desk: decide with keys alone, decide at the same moment as somebody else, look through calls, ask
// the policy, lose their login. And what no other site's page can do.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { APPROVER, bringIntoView, eventually, openBrowser, OWNER, PASSWORD, SECOND, Stage, VIEWER, visited } from "./stage.mjs";

let browser;
let stage;

before(async () => {
  browser = await openBrowser();
  stage = await Stage.open();
  // The console of an empty house is another one.
  await stage.call("crm-sync", "GET", "crm", "/contacts/0");
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

const on = (email, options, act) => visited(browser, stage, email, options, act);

const refund = (amount) => stage.hold("support-refunds", "POST", "billing", "/v1/refunds", { amount });

// What keys reach now, and whether one sees that: within the window, with a ring around it.
const focus = (page) =>
  page.evaluate(() => {
    const one = document.activeElement;
    const { top, bottom } = one.getBoundingClientRect();
    const ring = [one, one.closest("label")].some((part) => part && getComputedStyle(part).outlineStyle !== "none");
    return {
      said: (one.labels?.[0] ?? one).innerText.trim(),
      href: one.getAttribute("href"),
      seen: one !== document.body && one.matches(":focus-visible") && ring && bottom > 0 && top < innerHeight,
    };
  });

async function seen(page) {
  const now = await focus(page);
  assert.ok(now.seen, `nobody sees where the focus is on ${page.url()}: ${JSON.stringify(now)}`);
  return now;
}

// Presses a key until the focus is there.
async function reach(page, wanted, key = "Tab") {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press(key);
    if (wanted(await seen(page))) return;
  }
  assert.fail(`${key} never reaches ${wanted} on ${page.url()}`);
}

test("keys alone lead from the login to an approved call, and the focus is never lost", async () => {
  const before = stage.api.hits.length;
  await on(APPROVER, {}, async (page) => {
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByText("You are logged out").waitFor();
    await page.goto("/login");
    await page.keyboard.type(APPROVER);
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    const listening = page.waitForResponse("**/api/events");
    await page.keyboard.press("Enter");
    await listening;
    assert.equal(new URL(page.url()).pathname, "/");

    // The link is made anew, with its number, while it has the focus.
    await reach(page, (now) => now.href === "/approvals");
    const id = await refund(31);
    await page.locator(".nav .count").waitFor();
    assert.equal((await seen(page)).href, "/approvals");
    await page.keyboard.press("Enter");
    await page.locator(`#${id}`).waitFor();

    // A row comes in below the one that has the focus, and goes again.
    await page.keyboard.press("j");
    assert.equal((await seen(page)).href, `/approvals/${id}`);
    const other = await refund(32);
    await page.locator(`#${other}`).waitFor();
    assert.equal((await seen(page)).href, `/approvals/${id}`);
    await page.keyboard.press("j");
    assert.equal((await seen(page)).href, `/approvals/${other}`);
    const elsewhere = await stage.operator(SECOND);
    await elsewhere("POST", `/approvals/${other}/deny`, { reason: "Not this one." });
    await page.locator(`#${other}`).waitFor({ state: "detached" });
    assert.equal((await seen(page)).href, `/approvals/${id}`);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Decide" }).waitFor();

    await reach(page, (now) => now.said === "Read, then decide");
    await page.keyboard.press("Enter");
    const yes = page.getByRole("radio", { name: "Approve" });
    await eventually("the form is open", () => yes.isEnabled());
    await reach(page, (now) => now.said.startsWith("Approve"));
    await page.keyboard.press("Space");
    assert.ok(await yes.isChecked());
    await reach(page, (now) => now.said === "Reason");
    await page.keyboard.type("by hand");
    await reach(page, (now) => now.said === "Approve and send once");
    await page.keyboard.press("Enter");
    await page.getByText(/Executed, 201/).first().waitFor();
    assert.deepEqual(stage.api.hits.slice(before).map((hit) => JSON.parse(hit.body).amount), [31]);
  });
});

test("of two who decide at one moment one does, and the other sees who", async () => {
  const id = await refund(41);
  const before = stage.api.hits.length;
  await on(APPROVER, {}, async (one) => {
    await on(SECOND, {}, async (other) => {
      for (const page of [one, other]) {
        await page.goto(`/approvals/${id}`);
        await bringIntoView(page, "#decide");
        await page.getByRole("radio", { name: "Approve" }).check();
      }
      await Promise.all([one, other].map((page) => page.getByRole("button", { name: "Approve and send once" }).click()));
      const told = async (page) => {
        await page.getByText(/^The call was approved|^Not recorded/).first().waitFor();
        return page.locator("#main").innerText();
      };
      const [mine, theirs] = [await told(one), await told(other)];
      const [lost, winner] = mine.includes("Not recorded") ? [mine, SECOND] : [theirs, APPROVER];
      assert.ok(mine.includes("Not recorded") !== theirs.includes("Not recorded"), `${mine}\n${theirs}`);
      assert.match(lost.match(/Not recorded.*/)[0], new RegExp(winner));
    });
  });
  await eventually("the call is sent", () => stage.api.hits.length > before);
  assert.equal(stage.api.hits.length, before + 1);
});

test("a filter stands in the address, and going back brings the one before", async () => {
  for (const path of ["/contacts/1", "/contacts/2"]) await stage.call("crm-sync", "GET", "crm", path);
  await stage.call("support-refunds", "GET", "billing", "/v1/balance");
  await stage.call("ops-oncall", "DELETE", "crm", "/contacts/7");
  await on(VIEWER, {}, async (page) => {
    const rows = () => page.locator("tbody tr").allInnerTexts();
    const chosen = async () => [await page.getByLabel("Agent").inputValue(), await page.getByLabel("Decision").inputValue()];
    await page.goto("/calls");
    await eventually("all are there", async () => (await rows()).some((row) => row.includes("/contacts/7")));
    await page.getByLabel("Agent").selectOption("crm-sync");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL(/agent=crm-sync/);
    assert.deepEqual([(await rows()).length, (await rows()).every((row) => row.includes("crm-sync"))], [3, true]);
    await page.getByLabel("Agent").selectOption("");
    await page.getByLabel("Decision").selectOption("refused");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL(/decision=refused/);
    assert.ok((await rows()).some((row) => row.includes("ops-oncall") && row.includes("no deletes")), `${await rows()}`);
    assert.ok((await rows()).every((row) => row.includes("Refused")), `${await rows()}`);

    await page.goBack();
    await page.waitForURL(/agent=crm-sync/);
    await eventually("the filter before", async () => (await chosen()).join() === "crm-sync,");
    assert.equal((await rows()).length, 3);
    await page.goBack();
    await page.waitForURL(/calls$/);
    await eventually("no filter", async () => (await chosen()).join() === ",");
    // The address alone says it all: somebody else who is sent it sees the same.
    await page.goto("/calls?agent=crm-sync&q=contacts/2");
    assert.equal(await page.getByLabel("Action or text").inputValue(), "contacts/2");
    assert.equal((await rows()).length, 1);
    await page.getByRole("link", { name: "Clear" }).click();
    await page.waitForURL(/calls$/);
  });
});

test("the policy says what would happen to a call, and nothing happens", async () => {
  const before = stage.api.hits.length;
  await on(VIEWER, {}, async (page) => {
    await page.goto("/policy");
    const ask = async (agent, service, action, args, verdict) => {
      await page.getByLabel("Agent").selectOption(agent);
      await page.getByLabel("Service").selectOption(service);
      await page.getByLabel("Tool or request").fill(action);
      await page.getByLabel("Arguments or body, JSON").fill(args);
      await page.getByRole("button", { name: "Explain" }).click();
      await page.locator("#explain .note").filter({ hasText: verdict }).waitFor();
      // What was asked stands there still, to be changed a little.
      assert.equal(await page.getByLabel("Tool or request").inputValue(), action);
    };
    await ask("crm-sync", "crm", "GET /contacts/1", "", "Forwarded.");
    await ask("support-refunds", "billing", "POST /v1/refunds", '{"amount": 5000}', /Held for people\..*big refunds/);
    await ask("support-refunds", "billing", "POST /v1/refunds", '{"amount": 5}', /Held for people\..*refunds/);
    await ask("support-refunds", "billing", "DELETE /v1/refunds/1", "", /Refused\..*no deletes/);
    await ask("ops-oncall", "crm", "GET /deals", "", "Refused.");
    await ask("ops-oncall", "crm", "no request", "", /GET \/v1\/x/);
    await ask("support-refunds", "billing", "POST /v1/refunds", "{", /cannot be read as JSON/);
  });
  assert.equal(stage.api.hits.length, before);
});

test("a session that is ended in Settings ends on the page that is open, and the login leads back there", async () => {
  const id = await refund(51);
  const here = `/approvals/${id}`;
  await on(APPROVER, {}, async (page) => {
    await on(APPROVER, { javaScriptEnabled: false }, async (plain) => {
      const listening = page.waitForResponse("**/api/events");
      await page.goto(here);
      await listening;
      await plain.goto(here);
      await plain.getByRole("radio", { name: "Deny" }).check();
      await plain.getByRole("textbox", { name: "Reason" }).fill("too late");
      await on(OWNER, {}, async (owner) => {
        await owner.goto("/settings");
        const end = owner.getByRole("button", { name: `End the session of ${APPROVER}` });
        for (let left = await end.count(); left > 0; left -= 1) {
          await end.first().click();
          await owner.getByText("The session is ended.").waitFor();
          await eventually("one less", async () => (await end.count()) < left);
        }
      });
      // A page with script leaves by itself: what it shows is for nobody any more.
      await page.waitForURL(/\/login\?ended=1/);
      await page.getByText("Your session has ended").waitFor();
      await page.getByLabel("E-mail").fill(APPROVER);
      await page.getByLabel("Password").fill(PASSWORD);
      await page.keyboard.press("Enter");
      await page.waitForURL(`**${here}`);
      // Without, it says so as soon as one wants something of it, and has not done it.
      await plain.getByRole("button", { name: "Deny this call" }).click();
      await plain.getByRole("heading", { name: "Not logged in" }).waitFor();
      await plain.getByRole("link", { name: "Log in" }).click();
      await plain.getByLabel("E-mail").fill(APPROVER);
      await plain.getByLabel("Password").fill(PASSWORD);
      await plain.getByRole("button", { name: "Log in" }).click();
      await plain.waitForURL(`**${here}`);
      await plain.getByRole("radio", { name: "Deny" }).waitFor();
    });
  });
});

test("no other site's page can show the console in a frame", async () => {
  const other = createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end(`<!doctype html><title>other</title><iframe src="${stage.url}/approvals" width="800" height="600"></iframe>`);
  });
  await new Promise((done) => other.listen(0, "127.0.0.1", done));
  try {
    await on(OWNER, {}, async (page) => {
      const answered = page.waitForResponse(`${stage.url}/approvals`).catch(() => null);
      await page.goto(`http://127.0.0.1:${other.address().port}/`);
      const frame = await eventually("the frame is there", () => page.frames()[1]);
      await eventually("the frame is refused", () => page.faults.some((fault) => /frame-ancestors|X-Frame-Options/.test(fault)));
      assert.equal(await frame.locator("main").count(), 0);
      assert.ok(!(await frame.content()).includes("toolgate"));
      page.faults = page.faults.filter((fault) => !/frame-ancestors|X-Frame-Options/.test(fault));
      await answered;
    });
  } finally {
    other.closeAllConnections();
    await new Promise((done) => other.close(done));
  }
});
