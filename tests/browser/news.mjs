// How soon an open inbox shows a call that is held, in the browser: printed, never judged. `cargo xtask browser --news`

import { APPROVER, eventually, openBrowser, Stage, visit } from "./stage.mjs";

// Fewer than an agent may have waiting, and than a page shows.
const CALLS = 18;

const browser = await openBrowser();
const stage = await Stage.open();
try {
  const page = await visit(browser, stage, APPROVER);
  const listening = page.waitForResponse("**/api/events");
  await page.goto("/approvals");
  await listening;
  await page.evaluate(() => {
    globalThis.shown = {};
    const look = () => {
      for (const row of document.querySelectorAll("[data-row]")) {
        if (row.id in globalThis.shown) continue;
        globalThis.shown[row.id] = 0;
        // The frame after the next one: by then it is on the screen.
        requestAnimationFrame(() => requestAnimationFrame(() => (globalThis.shown[row.id] = performance.timeOrigin + performance.now())));
      }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
  const took = [];
  for (let amount = 1; amount <= CALLS; amount += 1) {
    const id = await stage.hold("support-refunds", "POST", "billing", "/v1/refunds", { amount });
    const shown = await eventually("the inbox shows it", () => page.evaluate((id) => globalThis.shown[id], id));
    const held = await page.evaluate(async (id) => (await (await fetch(`/api/approvals/${id}`)).json()).created_at, id);
    took.push(shown - Date.parse(held));
  }
  took.sort((one, other) => one - other);
  const ms = (share) => `${Math.round(took[Math.min(took.length - 1, Math.floor(took.length * share))])} ms`;
  console.log(`inbox: a call is on the screen ${ms(0.5)} after it was held (median of ${CALLS}), ${ms(1)} at most`);
} finally {
  await browser.close();
  await stage.close();
}
