//! The JSON API (contract §6): its table of routes.

pub(crate) mod session;

use http::Method;

use crate::route::{ANYONE, Route, VIEWER};

/// Every route of the API, and the least that somebody must be to use it.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/api/login",
        least: ANYONE,
        open: |asked| Box::pin(session::log_in(asked)),
    },
    Route {
        method: Method::POST,
        path: "/api/refresh",
        least: ANYONE,
        open: |asked| Box::pin(session::refresh(asked)),
    },
    Route {
        method: Method::POST,
        path: "/api/logout",
        least: ANYONE,
        open: |asked| Box::pin(session::log_out(asked)),
    },
    Route { method: Method::GET, path: "/api/me", least: VIEWER, open: |asked| Box::pin(session::me(asked)) },
    Route {
        method: Method::GET,
        path: "/api/sessions",
        least: VIEWER,
        open: |asked| Box::pin(session::list(asked)),
    },
    Route {
        method: Method::DELETE,
        path: "/api/sessions/{id}",
        least: VIEWER,
        open: |asked| Box::pin(session::end(asked)),
    },
];
