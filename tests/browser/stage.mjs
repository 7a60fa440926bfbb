// The stage of the browser tests: the real binary on a home of its own, an HTTP API that counts, agents that call, and
// Debian's Chromium. What is started here is stopped here, by its id.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { createServer as createSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

const BIN = process.env.TOOLGATE_BIN;
const DEBIAN = process.env.BROWSER_DEBIAN;
const run = promisify(execFile);

export const PASSWORD = "a horse of 12 letters";
export const OWNER = "mara@northwind.example";
export const APPROVER = "jonas@northwind.example";
export const SECOND = "priya@northwind.example";
export const VIEWER = "audit@northwind.example";

export const POLICY = `version: 1
roles:
  admin:
    allow: ["*"]
  user:
    allow:
      - { service: billing, requests: ["GET /v1/**"] }
      - { service: crm, requests: ["GET /**"], read: true }
    approve:
      - name: big refunds
        service: billing
        requests: ["POST /v1/refunds"]
        when: args.amount > 1000
        approvals: 2
      - { name: refunds, service: billing, requests: ["POST /v1/refunds"] }
      - { name: contact edits, service: crm, requests: ["PATCH /contacts/**"] }
  readonly:
    allow:
      - { service: crm, requests: ["GET /contacts/**"], read: true }
deny:
  - { name: no deletes, service: "*", requests: ["DELETE /**"] }
limits:
  per_key: 600/1m
  per_tool: 300/1m
`;

// Waits until something is there. A slow machine waits longer; only a broken promise waits in vain.
export async function eventually(what, look) {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await look();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`never: ${what}`);
}

async function freePort() {
  const socket = createSocket();
  await new Promise((done) => socket.listen(0, "127.0.0.1", done));
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  return port;
}

// Listens where it is wanted, if that port is free.
async function listening(server, wanted = 0) {
  const listen = (port) =>
    new Promise((done, fail) => {
      server.once("error", fail);
      server.listen(port, "127.0.0.1", done);
    });
  await listen(wanted).catch(() => listen(0));
  return { port: server.address().port, stop: () => new Promise((done) => server.close(done)) };
}

// An HTTP API that answers with what it was asked, and counts. `takes` says how long an answer to a request takes (ms),
// and `null` that there is none.
async function upstream(port) {
  const api = { hits: [], takes: () => 0 };
  const server = createServer((asked, answer) => {
    const parts = [];
    asked.on("data", (part) => parts.push(part));
    asked.on("end", () => {
      const count = api.hits.push({ method: asked.method, path: asked.url, body: Buffer.concat(parts).toString() });
      const long = api.takes(asked);
      if (long === null) return asked.destroy();
      const told = () => {
        answer.writeHead(asked.method === "POST" ? 201 : 200, { "content-type": "application/json" });
        answer.end(JSON.stringify({ id: `re_${count}`, status: "pending", seen: asked.url }));
      };
      if (long) setTimeout(told, long);
      else told();
    });
  });
  return Object.assign(api, await listening(server, port));
}

// An MCP server over Streamable HTTP (2025-11-25, without sessions) that has these tools, and counts what it is asked.
async function toolServer(tools, port) {
  const calls = [];
  const answers = {
    initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "tools", version: "1" } }),
    "tools/list": () => ({ tools }),
    "tools/call": (params) => {
      calls.push(params);
      return { content: [{ type: "text", text: "done" }] };
    },
  };
  const server = createServer((asked, answer) => {
    const parts = [];
    asked.on("data", (part) => parts.push(part));
    asked.on("end", () => {
      if (asked.method !== "POST") return answer.writeHead(405).end();
      const { id, method, params } = JSON.parse(Buffer.concat(parts).toString());
      if (id === undefined) return answer.writeHead(202).end();
      answer.writeHead(200, { "content-type": "application/json" });
      answer.end(JSON.stringify({ jsonrpc: "2.0", id, result: answers[method](params) }));
    });
  });
  return { tools, calls, ...(await listening(server, port)) };
}

export class Stage {
  // `newcomer`: a home that `init` made, and nothing else; its first owner comes with the link that `serve` prints.
  // `around`: more of the environment of the gateway and its commands; `domain`: services have names of their own in it;
  // `port`: where the HTTP API listens, if it is free.
  static async open({ newcomer = false, services = true, agents = true, operators = true, policy = POLICY, around = {}, domain, port } = {}) {
    if (newcomer) services = agents = operators = false;
    const stage = new Stage();
    Object.assign(stage, { around, domain });
    // Paths below the user's own folder are shown as `~/…`.
    stage.folder = await mkdtemp(join(tmpdir(), "toolgate-browser-"));
    stage.home = join(stage.folder, "toolgate");
    stage.api = await upstream(port);
    stage.ports = [await freePort(), await freePort()];
    stage.servers = [];
    await (newcomer ? stage.toolgate(["init"]) : stage.toolgate(["init", "--email", OWNER, "--password-stdin"], PASSWORD));
    if (!newcomer) await stage.govern(policy);
    if (operators) {
      for (const [email, role] of [[APPROVER, "approver"], [SECOND, "approver"], [VIEWER, "viewer"]]) {
        await stage.toolgate(["operators", "create", email, "--role", role, "--password-stdin"], PASSWORD);
      }
    }
    if (services) {
      const file = join(stage.home, "services.yaml");
      const service = (name, path) =>
        `  - name: ${name}\n    kind: http\n    url: http://${stage.host(name)}:${stage.api.port}${path}\n    network: private\n` +
        `    credentials:\n      - { name: secret_key, kind: bearer }\n`;
      await writeFile(file, `services:\n${service("billing", "")}${service("crm", "/crm")}`);
      await stage.toolgate(["services", "apply", "-f", file]);
      for (const name of ["billing", "crm"]) {
        await stage.toolgate(["credentials", "set", name, "secret_key"], "sk_live_not_to_be_seen");
      }
    }
    stage.keys = {};
    if (services && agents) {
      for (const [agent, role, scope] of [
        ["support-refunds", "user", "billing"],
        ["crm-sync", "user", "crm"],
        ["ops-oncall", "readonly", "crm"],
      ]) {
        stage.keys[agent] = await stage.key(agent, role, scope);
      }
    }
    await stage.serve();
    return stage;
  }

  get url() {
    return `http://127.0.0.1:${this.ports[1]}`;
  }

  host(service) {
    return this.domain ? `${service}.${this.domain}` : "127.0.0.1";
  }

  // The link for the first owner.
  get welcome() {
    return this.output.match(/http:\S+\/welcome\?token=\S+/)[0];
  }

  // Another policy; a running gateway reads it by itself.
  async govern(policy) {
    await writeFile(join(this.home, "policy.yaml"), policy);
  }

  // A service of this name: an MCP server that has these tools.
  async serveTools(tools, name = "tools") {
    const server = await toolServer(tools, this.domain && 8090 + this.servers.length);
    this.servers.push(server);
    const file = join(this.home, `${name}.yaml`);
    await writeFile(file, `services:\n  - { name: ${name}, kind: mcp, url: "http://${this.host(name)}:${server.port}/mcp", network: private }\n`);
    await this.toolgate(["services", "apply", "-f", file]);
    return server;
  }

  // An agent's client of that service: sends a request and gives the answer.
  async client(agent, service = "tools") {
    const post = async (message, session) =>
      fetch(`http://127.0.0.1:${this.ports[0]}/mcp/${service}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${this.keys[agent]}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": "2025-11-25",
          ...(session ? { "mcp-session-id": session } : {}),
        },
        body: JSON.stringify({ jsonrpc: "2.0", ...message }),
      });
    const about = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } };
    const hello = await post({ id: 0, method: "initialize", params: about });
    if (!hello.ok) throw new Error(`${hello.status} ${await hello.text()}`);
    const session = hello.headers.get("mcp-session-id");
    await hello.text();
    await (await post({ method: "notifications/initialized" }, session)).text();
    let id = 0;
    return async (method, params = {}) => {
      const answer = await (await post({ id: (id += 1), method, params }, session)).text();
      const line = answer.startsWith("{") ? answer : answer.match(/^data: ?(\{.*"id":.*)$/m)[1];
      return JSON.parse(line);
    };
  }

  async key(agent, role, scope) {
    return (await this.toolgate(["keys", "create", agent, "--role", role, "--scope", scope])).trim();
  }

  async toolgate(words, input) {
    const env = { ...process.env, HOME: this.folder, TOOLGATE_HOME: "", ...this.around };
    const running = run(BIN, [...words, "--home", this.home], { encoding: "utf8", env });
    // A command that wants no input may be gone before it is there.
    running.child.stdin.on("error", () => {});
    running.child.stdin.end(input ?? "");
    return (await running).stdout;
  }

  async serve() {
    const [gateway, console] = this.ports;
    this.output = "";
    this.process = spawn(
      BIN,
      ["serve", "--home", this.home],
      {
        env: {
          ...process.env,
          HOME: this.folder,
          TOOLGATE_HOME: "",
          TOOLGATE_GATEWAY_LISTEN: `127.0.0.1:${gateway}`,
          TOOLGATE_CONSOLE_LISTEN: `127.0.0.1:${console}`,
          TOOLGATE_GATEWAY_HOLD: "1s",
          ...this.around,
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    // Whatever becomes of the tests, the gateway goes with them.
    process.once("exit", () => this.process.kill("SIGKILL"));
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (text) => (this.output += text));
    await eventually("the gateway is ready", async () => {
      if (this.process.exitCode !== null) throw new Error(this.output);
      return (await fetch(`http://127.0.0.1:${gateway}/readyz`).catch(() => null))?.ok;
    });
  }

  // One call of an agent; what it was answered.
  async call(agent, method, service, path, body, headers = {}) {
    const url = `http://127.0.0.1:${this.ports[0]}/http/${service}${path}`;
    const text = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return new Promise((done, fail) => {
      const asked = request(
        url,
        {
          method,
          headers: {
            authorization: `Bearer ${this.keys[agent] ?? agent}`,
            ...(text === undefined ? {} : { "content-type": "application/json" }),
            ...headers,
          },
        },
        (answer) => {
          const parts = [];
          answer.on("data", (part) => parts.push(part));
          answer.on("end", () => done({ status: answer.statusCode, text: Buffer.concat(parts).toString() }));
        },
      );
      asked.on("error", fail);
      asked.end(text);
    });
  }

  // A call that is held; the id of its approval.
  async hold(agent, method, service, path, body, headers) {
    const answer = await this.call(agent, method, service, path, body, headers);
    if (answer.status !== 428) throw new Error(`not held: ${answer.status} ${answer.text}`);
    return answer.text.match(/ap_[0-9a-z]{10}/)[0];
  }

  // Somebody at the API: sends a request and gives the answer.
  async operator(email) {
    const ask = async (method, path, body, headers = {}) => {
      const sent = body && { body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } };
      const answer = await fetch(`${this.url}/api${path}`, { method, headers, ...sent });
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    };
    const { access_token } = await ask("POST", "/login", { email, password: PASSWORD });
    return (method, path, body) => ask(method, path, body, { authorization: `Bearer ${access_token}` });
  }

  async close() {
    if (this.process?.exitCode === null) {
      const ended = new Promise((done) => this.process.once("exit", done));
      this.process.kill("SIGTERM");
      await ended;
    }
    for (const server of [this.api, ...this.servers]) await server.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

// Debian's Chromium, unpacked below target or installed on this machine.
export async function openBrowser() {
  const libraries = `${DEBIAN}/usr/lib/x86_64-linux-gnu`;
  const fonts = `${DEBIAN}/fonts.conf`;
  const unpacked = DEBIAN && `${DEBIAN}/usr/lib/chromium/chromium`;
  return chromium.launch({
    executablePath: process.env.BROWSER_BIN ?? unpacked,
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
    env: {
      ...process.env,
      LD_LIBRARY_PATH: `${libraries}:${libraries}/pulseaudio`,
      ...(existsSync(fonts) ? { FONTCONFIG_FILE: fonts } : {}),
    },
  });
}

// A page that somebody is logged in to. `faults` collects what must never be: errors of the page, and what its security
// policy had to stop.
export async function visit(browser, stage, email, options = {}) {
  const context = await browser.newContext({ baseURL: stage.url, ...options });
  // A slow machine waits longer; only a broken promise waits in vain.
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) page.faults.push(message.text());
  });
  page.on("dialog", (dialog) => {
    page.faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  if (email) await logIn(page, email);
  return page;
}

// Somebody visits, and nothing goes wrong on the page.
export async function visited(browser, stage, email, options, act) {
  const page = await visit(browser, stage, email, options);
  await act(page);
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

export async function logIn(page, email, password = PASSWORD) {
  await page.goto("/login");
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => url.pathname !== "/login");
}

// In one step: what is found first and scrolled to then may have been replaced by news in between.
export const bringIntoView = (page, selector) => page.evaluate((found) => document.querySelector(found).scrollIntoView(), selector);

// Reads a held call to its end, then decides.
export async function decide(page, id, decision, reason) {
  await page.goto(`/approvals/${id}`);
  await bringIntoView(page, "#decide");
  await page.getByRole("radio", { name: decision === "approve" ? "Approve" : "Deny" }).check();
  if (reason) await page.getByRole("textbox", { name: "Reason" }).fill(reason);
  await page.getByRole("button", { name: decision === "approve" ? "Approve and send once" : "Deny this call" }).click();
  await page.waitForURL(/done=/);
}

export const text = (path) => readFile(path, "utf8");

// How wide a page is and how wide its window. Not innerWidth: a phone zooms out until a page that is too wide fits.
export const widths = async (page) => [
  await page.evaluate(() => document.documentElement.scrollWidth),
  page.viewportSize().width,
];
