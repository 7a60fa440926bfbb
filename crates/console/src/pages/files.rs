//! The files that pages load: style, script, icons. They are in the binary, and named by their hash, so that browsers may
//! keep them for ever. Compressed once: pages are not, because they hold what an attacker could measure by its length.

use std::{io::Write as _, sync::LazyLock};

use bytes::Bytes;
use domain::audit::push_hex;
use flate2::{Compression, write::GzEncoder};
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
    /// The same as gzip (RFC 1952).
    gzip: Bytes,
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
        Self { path: format!("/assets/{name}-{hash}.{end}"), media, body, gzip: gzip(body.as_bytes()) }
    }

    fn answer(&self, takes_gzip: bool) -> Response<Flow> {
        let compressed = takes_gzip && !self.gzip.is_empty();
        let mut response = match compressed {
            true => answer::of(StatusCode::OK, self.media, self.gzip.clone()),
            false => answer::of(StatusCode::OK, self.media, self.body),
        };
        let headers = response.headers_mut();
        if compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, kept);
        response
    }
}

/// Nothing where it cannot be done, which in memory it always can.
fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::best());
    let written = encoder.write_all(bytes);
    written.and_then(|()| encoder.finish()).map(Bytes::from).unwrap_or_default()
}

/// Whether `Accept-Encoding` says so (RFC 9110 §12.5.3), other than with a weight of nothing.
fn takes_gzip(accepted: Option<&str>) -> bool {
    accepted.unwrap_or_default().split(',').any(|one| {
        let mut words = one.split(';').map(str::trim);
        let is_gzip = words.next().is_some_and(|word| word.eq_ignore_ascii_case("gzip"));
        let weight = words.find_map(|word| word.strip_prefix("q=")).map(str::parse::<f32>);
        is_gzip && weight.is_none_or(|weight| weight.is_ok_and(|weight| weight > 0.0))
    })
}

/// One of the files.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let file = [&STYLE, &SCRIPT, &ICON, &ICON_WAITING].into_iter().find(|file| file.path == asked.path());
    let takes_gzip = takes_gzip(asked.header(header::ACCEPT_ENCODING));
    file.map(|file| file.answer(takes_gzip)).ok_or_else(|| Problem::not_found("there is no such file here"))
}

/// What browsers ask for unasked.
pub(super) async fn icon(_: Asked) -> Result<Response<Flow>, Problem> {
    let mut response = answer::of(StatusCode::OK, ICON.media, ICON.body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_reads_back() {
        for file in [&STYLE, &SCRIPT, &ICON] {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*file.gzip).read_to_string(&mut text).unwrap();
            assert_eq!(text, file.body);
        }
        assert!(STYLE.gzip.len() + SCRIPT.gzip.len() < 15_000);
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for yes in ["gzip", "br, GZIP;q=0.5", "gzip, deflate, br, zstd"] {
            assert!(takes_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0", "xgzip", "identity"] {
            assert!(!takes_gzip(Some(no)), "{no}");
        }
        assert!(!takes_gzip(None));
    }
}
