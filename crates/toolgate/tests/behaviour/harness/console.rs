//! Somebody before the console: a browser that keeps its cookies, and sends along what a page of the console would.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};

use super::{Gateway, Home, Reply, Request, send};

/// Everybody's password.
pub const PASSWORD: &str = "copper otter violet 37";

impl Home {
    /// A new operator, `name@example.com`.
    pub fn operator(&self, name: &str, role: &str) -> String {
        let email = format!("{name}@example.com");
        let create = ["operators", "create", &email, "--role", role, "--password-stdin"];
        let ran = self.run_with(&create, PASSWORD.as_bytes());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        email
    }

    /// A token of theirs.
    pub fn operator_token(&self, email: &str) -> String {
        let ran = self.run_with(&["operators", "token", email, "--password-stdin"], PASSWORD.as_bytes());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        ran.stdout.trim_end().to_owned()
    }
}

/// A browser at the console.
pub struct Browser {
    address: SocketAddr,
    /// What it keeps.
    pub cookies: BTreeMap<String, String>,
    /// What its pages send along with writes.
    pub csrf: Option<String>,
}

impl Browser {
    /// Nobody is logged in.
    pub fn new(gateway: &Gateway) -> Self {
        Self::at(gateway.console())
    }

    /// The same at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, cookies: BTreeMap::new(), csrf: None }
    }

    /// Logged in.
    pub fn of(gateway: &Gateway, email: &str) -> Self {
        Self::logged_in(gateway.console(), email)
    }

    /// The same at this address.
    pub fn logged_in(address: SocketAddr, email: &str) -> Self {
        let mut browser = Self::at(address);
        let reply = browser.log_in(email, PASSWORD);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let me = browser.get("/api/me").json();
        browser.csrf = me["csrf_token"].as_str().map(str::to_owned);
        browser
    }

    /// Logs in.
    pub fn log_in(&mut self, email: &str, password: &str) -> Reply {
        let body = json!({ "email": email, "password": password });
        self.send(Request::post("/api/login", body.to_string()))
    }

    /// Sends a request with its cookies, and keeps those that come.
    pub fn send(&mut self, request: Request) -> Reply {
        let reply = send(self.address, &self.dressed(request));
        for cookie in reply.all("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        reply
    }

    /// The same browser, whom a proxy in front has sent to another gateway.
    pub fn elsewhere(&self, address: SocketAddr) -> Self {
        Self { address, cookies: self.cookies.clone(), csrf: self.csrf.clone() }
    }

    /// The request as it would send it.
    pub fn dressed(&self, request: Request) -> Request {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { request } else { request.header("Cookie", &cookies.join("; ")) }
    }

    /// Reads.
    pub fn get(&mut self, target: &str) -> Reply {
        self.send(Request::new("GET", target).header("Sec-Fetch-Site", "same-origin"))
    }

    /// Writes JSON, as a script of a page does.
    pub fn write(&mut self, method: &str, target: &str, body: &Value) -> Reply {
        let request = Request::new(method, target).header("Content-Type", "application/json");
        self.send_from_page(request.body(body.to_string()))
    }

    /// A `POST` that says nothing.
    pub fn post(&mut self, target: &str) -> Reply {
        self.send_from_page(Request::new("POST", target))
    }

    fn send_from_page(&mut self, request: Request) -> Reply {
        let origin = format!("http://{}", self.address);
        let request = request.header("Sec-Fetch-Site", "same-origin").header("Origin", &origin);
        let csrf = self.csrf.clone();
        self.send(match csrf {
            Some(token) => request.header("X-CSRF-Token", &token),
            None => request,
        })
    }

    /// Looks at a held call, and says yes to it.
    pub fn approve(&mut self, id: &str) {
        let shown = self.get(&format!("/api/approvals/{id}")).json();
        let yes = json!({ "digest": shown["digest"], "reason": "ordered" });
        let reply = self.write("POST", &format!("/api/approvals/{id}/approve"), &yes);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
