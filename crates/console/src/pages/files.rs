//! The files that pages load: style, script, icons. They are in the binary, and named by their hash, so that browsers may
//! keep them for ever.

use std::sync::LazyLock;

use domain::audit::push_hex;
use http::{HeaderValue, Response, StatusCode, header};
use pipeline::flow::Flow;
use sha2::{Digest as _, Sha256};

use crate::{answer, asked::Asked, problem::Problem};

/// A file and the name that it is loaded by.
pub(super) struct File {
    /// `/assets/app-1f2e3d4c.css`.
    pub path: String,
    media: &'static str,
    body: &'static str,
}

/// The style.
pub(super) static STYLE: LazyLock<File> =
    LazyLock::new(|| File::of("app", "css", "text/css; charset=utf-8", include_str!("../../static/app.css")));
/// The script: everything it does is also there without it.
pub(super) static SCRIPT: LazyLock<File> = LazyLock::new(|| {
    File::of("app", "js", "text/javascript; charset=utf-8", include_str!("../../static/app.js"))
});
/// The icon while nothing waits.
pub(super) static ICON: LazyLock<File> =
    LazyLock::new(|| File::of("icon", "svg", "image/svg+xml", include_str!("../../static/favicon.svg")));
/// The icon while calls wait.
pub(super) static ICON_WAITING: LazyLock<File> = LazyLock::new(|| {
    File::of("waiting", "svg", "image/svg+xml", include_str!("../../static/favicon-waiting.svg"))
});

impl File {
    fn of(name: &str, end: &str, media: &'static str, body: &'static str) -> Self {
        let mut hash = String::with_capacity(8);
        push_hex(&mut hash, Sha256::digest(body.as_bytes()).get(..4).unwrap_or_default());
        Self { path: format!("/assets/{name}-{hash}.{end}"), media, body }
    }

    fn answer(&self) -> Response<Flow> {
        let mut response = answer::of(StatusCode::OK, self.media, self.body);
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
        response
    }
}

/// One of the files.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let file = [&STYLE, &SCRIPT, &ICON, &ICON_WAITING].into_iter().find(|file| file.path == asked.path());
    file.map(|file| file.answer()).ok_or_else(|| Problem::not_found("there is no such file here"))
}

/// What browsers ask for unasked.
pub(super) async fn icon(_: Asked) -> Result<Response<Flow>, Problem> {
    let mut response = answer::of(StatusCode::OK, ICON.media, ICON.body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(response)
}
