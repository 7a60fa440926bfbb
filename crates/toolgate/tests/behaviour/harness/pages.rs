//! The console as a browser without script uses it: pages that are read, forms that are sent.

use super::{Browser, Gateway, Home, PASSWORD, Reply, Request, Upstream, answer, until};

/// Small refunds are held for one person, big ones for two.
pub const PAGES_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: api, requests: ["GET /v1/**"] }
    approve:
      - { name: big refunds, service: api, requests: ["POST /v1/refunds"], when: args.amount > 1000, approvals: 2 }
      - { name: refunds, service: api, requests: ["POST /v1/refunds"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  refusals: 100000/1s
"#;

/// Every page that needs no id.
pub const PAGES: [&str; 8] =
    ["/", "/approvals", "/approvals?show=decided", "/calls", "/agents", "/services", "/policy", "/settings"];

/// A gateway before `api`, with people of every role: olga owns, ada and grace approve, vera looks on.
pub struct PagesStage {
    /// The gateway.
    pub gateway: Gateway,
    /// What stands behind `api`.
    pub api: Upstream,
    /// The key of `laptop`, a user.
    pub key: String,
}

impl PagesStage {
    /// With [`PAGES_POLICY`].
    pub fn new() -> Self {
        let api = Upstream::start(|_| {
            answer("201 Created", "Content-Type: application/json\r\n", "{\"id\":\"re_<b>1</b>\"}")
        });
        let home = Home::new(PAGES_POLICY).set("gateway.hold=50ms").services(&[api.declare_api("api", "")]);
        let key = home.key("laptop", "user", "api");
        for (name, role) in
            [("olga", "owner"), ("ada", "approver"), ("grace", "approver"), ("vera", "viewer")]
        {
            home.operator(name, role);
        }
        Self { gateway: home.serve(), api, key }
    }

    /// A browser in which one of them is logged in.
    pub fn browser(&self, name: &str) -> Browser {
        logged_in(&self.gateway, &format!("{name}@example.com"))
    }

    /// `laptop` asks for a refund.
    pub fn post(&self, body: &str) -> Reply {
        let request = Request::new("POST", "/http/api/v1/refunds").key(&self.key);
        self.gateway.send(&request.header("Content-Type", "application/json").body(body.as_bytes()))
    }

    /// A call that is held: the path of its page.
    pub fn hold(&self, body: &str) -> String {
        let reply = self.post(body);
        assert_eq!(reply.status, 428, "{}", reply.text());
        let text = reply.text();
        let start = text.find("ap_").unwrap();
        format!("/approvals/{}", &text[start..start + 13])
    }
}

/// A browser that logged in with the form.
pub fn logged_in(gateway: &Gateway, email: &str) -> Browser {
    let mut browser = Browser::new(gateway);
    let reply = form(&mut browser, "/login", &[("email", email), ("password", PASSWORD), ("next", "/calls")]);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/calls")), "{}", reply.text());
    browser
}

/// Sends a form with the hidden token of the page that it stands on.
pub fn form(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let page = browser.get("/settings").text();
    let token =
        page.split("name=\"csrf\" value=\"").nth(1).map(|rest| rest[..rest.find('"').unwrap()].to_owned());
    let token = token.unwrap_or_default();
    let mut all = fields.to_vec();
    all.push(("csrf", &token));
    send_form(browser, path, &all)
}

/// Sends a form that changes what its page showed.
pub fn edit(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let seen = field(&page(browser, path), "seen");
    form(browser, path, &[fields, &[("seen", &seen)]].concat())
}

/// Sends a form with nothing but these fields.
pub fn send_form(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let body: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    let request = Request::new("POST", path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin")
        .body(body.join("&"));
    browser.send(request)
}

/// A page that is there.
pub fn page(browser: &mut Browser, path: &str) -> String {
    let reply = browser.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    reply.text()
}

/// The value of a hidden field.
pub fn field(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let rest = &page[page.find(&mark).unwrap_or_else(|| panic!("no {name} in {page}")) + mark.len()..];
    rest[..rest.find('"').unwrap()].to_owned()
}

/// A page, as soon as it has these words.
pub fn until_page(browser: &mut Browser, path: &str, words: &str) -> String {
    let mut text = String::new();
    until(words, || {
        text = page(browser, path);
        text.contains(words)
    });
    text
}
