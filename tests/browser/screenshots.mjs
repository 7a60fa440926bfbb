// Pictures of every page, light, dark and on a phone, into docs/screenshots: `cargo xtask screenshots`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { openBrowser, OWNER, SECOND, Stage, visit } from "./stage.mjs";
import { play } from "./scene.mjs";

const folder = process.argv[2];
await mkdir(folder, { recursive: true });

const LOOKS = [
  ["light", { colorScheme: "light", viewport: { width: 1280, height: 900 } }],
  ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
];

const browser = await openBrowser();

async function shoot(stage, email, pages, prepare) {
  for (const [look, options] of LOOKS) {
    const page = await visit(browser, stage, email, { ...options, deviceScaleFactor: 1, reducedMotion: "reduce" });
    for (const [name, path, act] of pages) {
      await page.goto(path);
      await act?.(page);
      // A head that stays in sight would stand in the middle of a long picture.
      await page.evaluate(() => {
        document.activeElement?.blur();
        scrollTo(0, 0);
      });
      await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: true });
    }
    await page.context().close();
  }
  await prepare?.();
}

const bare = await Stage.open({ services: false, agents: false, operators: false });
await shoot(bare, OWNER, [
  ["welcome", "/"],
  ["inbox-empty", "/approvals"],
]);
await bare.close();

const stage = await Stage.open();
const scene = await play(stage, browser);
const call = async (page) => {
  await page.locator("tbody a").first().click();
  await page.waitForURL(/\/calls\/c_/);
};
await shoot(stage, null, [["login", "/login"]]);
await shoot(stage, SECOND, [
  ["approval", `/approvals/${scene.odd}`],
  ["inbox", "/approvals", (page) => page.locator(".held details summary").first().click()],
]);
await shoot(stage, OWNER, [
  ["overview", "/"],
  ["approval-done", `/approvals/${scene.done}`],
  ["decided", "/approvals?show=decided"],
  ["calls", "/calls"],
  ["call", "/calls?decision=executed-approved", call],
  ["agents", "/agents"],
  ["agent", "/agents/support-refunds"],
  ["services", "/services"],
  ["service", "/services/billing"],
  ["tools", "/services/notes"],
  ["policy", "/policy?agent=support-refunds&service=billing&action=POST%20/v1/refunds"],
  ["settings", "/settings"],
]);
await stage.toolgate(["kill", "on", "--reason", "ops-oncall loops on payments"]);
await shoot(stage, OWNER, [["killed", "/settings"]]);
await stage.close();
await browser.close();
