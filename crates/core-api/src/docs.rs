//! Swagger UI with the description of the service: `GET /docs`.
//!
//! Its files are part of the program. The script that starts it is the service's own, and makes a key for each write that has none.

use std::{borrow::Cow, sync::Arc};

use axum::{
    extract::{Path, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::{assets, error::ApiError};

/// The description as a page that can send requests.
///
/// The page is Swagger UI. It makes a new key for each write whose key is left empty, and can send the last key again.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    responses((status = OK, description = "The page.", content_type = "text/html", body = String)),
)]
pub(crate) async fn show_docs() -> Response {
    assets::html(include_str!("docs/page.html"))
}

/// The files of `/docs`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(crate) enum DocsFile {
    #[serde(rename = "page.css")]
    Style,
    #[serde(rename = "page.js")]
    Script,
    #[serde(rename = "swagger-ui.css")]
    SwaggerStyle,
    #[serde(rename = "swagger-ui-bundle.js")]
    SwaggerScript,
}

/// A script or stylesheet of `/docs`.
///
/// The files are part of the program, so the page needs no other server. Those of Swagger UI are always sent with gzip's coding.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    tag = "documentation",
    params(("file" = inline(DocsFile), Path, description = "The name of the file.")),
    responses((status = OK, description = "The file.", content((String = "text/javascript"), (String = "text/css")))),
)]
pub(crate) async fn docs_file(file: Result<Path<DocsFile>, PathRejection>) -> Response {
    let Ok(Path(file)) = file else {
        return ApiError::UnknownRoute.into_response();
    };
    match file {
        DocsFile::Style => assets::style(include_str!("docs/page.css")),
        DocsFile::Script => assets::script(include_str!("docs/page.js")),
        DocsFile::SwaggerStyle => vendored("swagger-ui.css", assets::style),
        DocsFile::SwaggerScript => vendored("swagger-ui-bundle.js", assets::script),
    }
}

/// A file of Swagger UI.
fn vendored(name: &str, response: fn(Cow<'static, [u8]>) -> Response) -> Response {
    // It only fills in a script that is not served.
    let config = Arc::new(Config::from(""));
    let Ok(Some(SwaggerFile {
        bytes, gzpipped, ..
    })) = utoipa_swagger_ui::serve(name, config)
    else {
        return ApiError::UnknownRoute.into_response();
    };
    let coding = gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    (coding, response(bytes)).into_response()
}
