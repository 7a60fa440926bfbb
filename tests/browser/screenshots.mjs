// Pictures of every page, light, dark and on a phone, into docs/screenshots: `cargo xtask screenshots`.

import { execFile } from "node:child_process";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { openBrowser, OWNER, SECOND, Stage, visit } from "./stage.mjs";
import { play } from "./scene.mjs";
import { openWeek } from "./week.mjs";

const folder = process.argv[2];
const DEBIAN = process.env.BROWSER_DEBIAN;
const LIBRARIES = `${DEBIAN}/usr/lib/x86_64-linux-gnu`;

const LOOKS = [
  ["light", { colorScheme: "light", viewport: { width: 1280, height: 800 } }],
  ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 800 } }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
];
// A longer page is cut: what comes then looks alike. Where it does not, the page is taken whole.
const HIGHEST = { light: 1100, dark: 1100, phone: 1600 };

await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const browser = await openBrowser();

// Each page as it looks in each of these looks, by one who is logged in once.
async function shoot(stage, email, pages, looks = ["light", "dark", "phone"]) {
  let storageState;
  for (const [look, options] of LOOKS.filter(([look]) => looks.includes(look))) {
    const known = { ...options, deviceScaleFactor: 1, reducedMotion: "reduce", storageState };
    const page = await visit(browser, stage, storageState ? null : email, known);
    for (const [name, path, act, whole] of pages) {
      await page.setViewportSize(options.viewport);
      await page.goto(path);
      await act?.(page);
      // The window takes in the whole page, so that what stays in sight stays at its edges.
      const high = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewportSize({ ...options.viewport, height: Math.max(options.viewport.height, whole ? high : Math.min(high, HIGHEST[look])) });
      await page.evaluate(() => {
        document.activeElement?.blur();
        scrollTo(0, 0);
      });
      await page.screenshot({ path: join(folder, `${name}-${look}.png`) });
    }
    if (email) storageState = await page.context().storageState();
    await page.context().close();
  }
}

const bare = await Stage.open({ services: false, agents: false, operators: false });
await shoot(bare, OWNER, [["inbox-empty", "/approvals"]], ["dark"]);
await shoot(bare, OWNER, [["welcome", "/"]], ["light", "phone"]);
await bare.close();

const week = await openWeek();
const { stage } = week;
try {
  const scene = await play(stage, browser);
  const first = async (page) => {
    await page.locator("tbody a").first().click();
    await page.waitForURL(/\/calls\/c_/);
  };
  const open = (page) => page.locator(".held details summary").first().click();
  await shoot(stage, null, [["login", "/login"]]);
  await shoot(stage, SECOND, [
    ["approval", `/approvals/${scene.odd}`, null, true],
    ["inbox", "/approvals", open],
  ]);
  await shoot(stage, OWNER, [
    ["overview", "/?range=week"],
    ["calls", "/calls"],
    ["call", "/calls?decision=executed-approved", first],
    ["agents", "/agents"],
    ["agent", "/agents/support-refunds"],
    ["services", "/services"],
    ["service", "/services/billing"],
    ["policy", "/policy?agent=support-refunds&service=billing&action=POST%20/v1/refunds"],
    ["settings", "/settings"],
  ]);
  const states = [
    ["approval-done", `/approvals/${scene.done}`],
    ["decided", "/approvals?show=decided"],
    ["tools", "/services/notes"],
  ];
  await shoot(stage, OWNER, states, ["light"]);
  await stage.toolgate(["kill", "on", "--reason", "ops-oncall loops on payments"]);
  await shoot(stage, OWNER, [["killed", "/settings"]], ["phone"]);
} finally {
  await week.close();
  await browser.close();
}

// Few colours: a third of the bytes, and nobody sees it.
const pictures = (await readdir(folder)).filter((name) => name.endsWith(".png")).map((name) => join(folder, name));
await promisify(execFile)(`${DEBIAN}/usr/bin/pngquant`, ["128", "--speed=1", "--strip", "--force", "--ext=.png", "--", ...pictures], {
  env: { ...process.env, LD_LIBRARY_PATH: LIBRARIES },
});
