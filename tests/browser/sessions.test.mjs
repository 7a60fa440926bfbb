// Logins that end by themselves while a page is open. These tests wait, mostly, and so they do it together.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { eventually, openBrowser, OWNER, PASSWORD, Stage, visited } from "./stage.mjs";

let browser;
let stage;

before(async () => {
  browser = await openBrowser();
  const around = { TOOLGATE_CONSOLE_SESSION_IDLE: "6s", TOOLGATE_CONSOLE_SESSION_REFRESH: "20s" };
  stage = await Stage.open({ services: false, agents: false, operators: false, around });
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

const on = (options, act) => visited(browser, stage, OWNER, options, act);

// Says that the session has ended, and leads back.
async function back(page, path) {
  await page.getByText("Your session has ended").waitFor();
  await page.getByLabel("E-mail").fill(OWNER);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL(`**${path}`);
}

describe("a login ends by itself", { concurrency: true }, () => {
  test("where nobody uses it, and the open page says so", async () => {
    await on({}, async (page) => {
      await page.goto("/calls?time=all&decision=refused");
      // Nothing is pressed from here on.
      await page.waitForURL(/\/login\?ended=1/);
      await back(page, "/calls?time=all&decision=refused");
    });
  });

  test("after its time, however much it is used", async () => {
    await on({ javaScriptEnabled: false }, async (page) => {
      let pages = 0;
      await eventually("the login is over", async () => {
        await new Promise((done) => setTimeout(done, 500));
        await page.goto("/agents");
        pages += new URL(page.url()).pathname === "/agents";
        return page.url().includes("/login");
      });
      assert.ok(pages > 0);
      await back(page, "/agents");
    });
  });
});
