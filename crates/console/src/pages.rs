//! The pages: their table of routes. Each works without script; what people or agents wrote is text in them, never HTML.

use crate::route::Route;

/// Every page and file, and the least that somebody must be to see it.
pub(crate) const ROUTES: &[Route] = &[];
