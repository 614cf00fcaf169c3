//! The page's files, embedded. (step 15)

use axum::http::header;
use axum::response::IntoResponse;

/// Browsers ask each time whether it changed: a new aggregator must not meet an old page.
const CACHE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-cache");

pub(super) async fn index() -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) async fn app() -> impl IntoResponse {
    file(
        "text/javascript; charset=utf-8",
        include_str!("page/app.js"),
    )
}

pub(super) async fn draw() -> impl IntoResponse {
    file(
        "text/javascript; charset=utf-8",
        include_str!("page/draw.js"),
    )
}

pub(super) async fn hot() -> impl IntoResponse {
    file(
        "text/javascript; charset=utf-8",
        include_str!("page/hot.js"),
    )
}

pub(super) async fn why() -> impl IntoResponse {
    file(
        "text/javascript; charset=utf-8",
        include_str!("page/why.js"),
    )
}

pub(super) async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("page/style.css"))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), CACHE], text)
}
