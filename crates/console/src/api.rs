//! The JSON API (contract §6): its table of routes.

mod me;

use http::Method;

use crate::route::{Route, VIEWER};

/// Every route of the API, and the least that somebody must be to use it.
pub(crate) const ROUTES: &[Route] =
    &[Route { method: Method::GET, path: "/api/me", least: VIEWER, open: |asked| Box::pin(me::show(asked)) }];
