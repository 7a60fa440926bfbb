//! The MCP door: `/mcp/{service}`, Streamable HTTP. Reads one message strictly, works out what it acts on, and hands
//! it to the walk. The body that is passed on is the one that was read.

mod all;
mod api;
mod held;
mod ours;
mod read;
pub(crate) mod task;

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use domain::{
    call::{Action, Call},
    clock::Now,
    stop::{Refusal, Stop},
};
use http::{HeaderMap, Method, Response};
use pipeline::{Exchange, flow::Flow};
use wire::mcp::Class;

use self::read::{Stated, read};
use crate::{
    Front, Knock,
    answer::{self, Form},
    asked::Asked,
    identity::{self, Claims},
    inquiry::Inquiry,
};

pub use self::all::Members;

/// The endpoint of all services.
const ALL: &str = "/mcp";

pub(crate) fn takes(path: &str) -> bool {
    path == ALL || service_of(path).is_some()
}

/// The service's name in `/mcp/{service}`.
fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix("/mcp/").filter(|name| !name.is_empty() && !name.contains('/'))
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let front = Arc::clone(&knock.front);
    let path = knock.request.uri().path();
    let is_for_all = path == ALL;
    let service = service_of(path).unwrap_or_default().to_owned();
    match receive(knock, service).await {
        // Boxed: it is by far the largest, and all requests would have to have room for it.
        Ok(received) if is_for_all => Box::pin(all::answered(received, &front)).await,
        Ok(received) => received.answered(&front).await,
        Err(turned_away) => *turned_away,
    }
}

/// What came to the endpoint of a service, as far as it can be read; or the answer to what may not come at all.
async fn receive(knock: Knock, service: String) -> Result<Received, Box<Response<Flow>>> {
    let Knock { front, peer, request } = knock;
    let at = front.gateway.clock.now();
    let mut call = Call {
        id: front.gateway.ids.next(at.wall),
        service,
        method: method_word(request.method()),
        action: Action::Service,
        class: Class::Housekeeping,
    };
    if let Err(foreign) = front.names.check(request.uri(), request.headers()) {
        let refusal = Refusal::ForeignOrigin(foreign);
        return Err(Box::new(answer::turned_away(&front, &call, at, refusal, &Form::Plain)));
    }

    let source = identity::source(&front, peer, request.headers());
    let mut claims = Claims::of(request.headers(), request.uri(), front.key_in_query);
    let mut form = Form::Plain;
    let mut headers = HeaderMap::new();
    let (exchange, stated) = match read(request, &front, &mut claims, &mut headers).await {
        Ok(read) => {
            call.method = read.method;
            call.action = read.action;
            call.class = read.class;
            form = read.form;
            (Ok(read.exchange), read.stated)
        }
        Err(unread) => {
            form = unread.form.unwrap_or(form);
            (Err(unread.stop), Stated::default())
        }
    };
    Ok(Received { at, source, claims, call, exchange, headers, form, stated })
}

/// A request to one service, as far as it could be read, before anybody has looked at who asks.
struct Received {
    at: Now,
    source: IpAddr,
    claims: Claims,
    call: Call,
    exchange: Result<Exchange, Stop>,
    headers: HeaderMap,
    form: Form,
    stated: Stated,
}

impl Received {
    /// Answers what is for us ourselves; everything else walks.
    async fn answered(self, front: &Arc<Front>) -> Response<Flow> {
        let Self { at, source, claims, call, exchange, headers, form, stated } = self;
        let Stated { modern, session, repeatable, intent, progress, tasks } = stated;
        let question = match &exchange {
            Ok(Exchange::Post(message)) if modern => task::question(front, &claims, &call, message),
            _ => None,
        };
        if let Some(question) = question
            && question.is_ours(front).await
        {
            let inquiry = Inquiry::made(Arc::clone(front), at, source, claims, held::housekeeping(call));
            return question.answered(inquiry, &form).await;
        }
        let is_api = exchange.is_ok() && api::is_one(front, &call.service, at).await;
        let session = session.filter(|_| !is_api);
        if let Ok(readable) = &exchange
            && let Some(own) = held::own(front, &claims, &call, readable, session.as_deref())
        {
            let inquiry = Inquiry::made(Arc::clone(front), at, source, claims, held::housekeeping(call));
            return own.answered(inquiry, &form, progress).await;
        }
        let asked = Asked {
            at,
            source,
            claims,
            call,
            exchange,
            headers,
            session,
            modern,
            repeatable,
            intent,
            progress,
            // A task is a `tools/call`; a request to an API is none once it is translated.
            tasks: tasks && !is_api,
        };
        match is_api {
            true => api::answered(asked, front, &form).await,
            false => asked.walk(front, &form).await,
        }
    }
}

/// What the trail calls a request that has no message.
fn method_word(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::GET => "GET".into(),
        Method::DELETE => "DELETE".into(),
        Method::POST => "POST".into(),
        _ => "other".into(),
    }
}
