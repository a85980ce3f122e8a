//! One request, as every way in carries it: its parameters, and what becomes of them.

use access::Problem;
use async_graphql::{Request, Variables};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::documents::Documents;
use crate::error::Refused;

/// The parameters of a request (GraphQL over HTTP, "Request Parameters").
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    query: Option<String>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default)]
    extensions: Option<Map<String, Value>>,
}

impl Asked {
    /// From JSON: a body, or the payload of `subscribe`.
    ///
    /// # Errors
    /// 400 `json_malformed`, `batch_unsupported`.
    pub(super) fn of_json(bytes: &[u8]) -> Result<Self, Problem> {
        let bad = |code: &'static str, text: String| Problem::new(StatusCode::BAD_REQUEST, code, text);
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            let text = "one request at a time: send several side by side, over one connection, instead of a batch";
            return Err(bad("batch_unsupported", text.to_owned()));
        }
        serde_json::from_slice(bytes).map_err(|error| bad("json_malformed", error.to_string()))
    }

    /// From the parameters of an address.
    ///
    /// # Errors
    /// 400 `request_malformed`.
    pub(super) fn of_address(address: Addressed) -> Result<Self, Problem> {
        let object = |name: &str, text: Option<String>| {
            let text = text.filter(|text| !text.is_empty());
            text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
                let text = format!("`{name}` must be a JSON object: {error}");
                Problem::new(StatusCode::BAD_REQUEST, "request_malformed", text)
            })
        };
        Ok(Self {
            query: address.query,
            operation_name: address.operation_name,
            variables: object("variables", address.variables)?,
            extensions: object("extensions", address.extensions)?,
        })
    }

    /// The request. A document that was named by its digest is fetched.
    ///
    /// # Errors
    /// When there is no document, or it may not be run here.
    pub(super) fn into_request(self, documents: &Documents) -> Result<Request, Refused> {
        let text = documents.resolve(self.query, self.extensions.as_ref())?;
        let variables = Variables::from_json(Value::Object(self.variables.unwrap_or_default()));
        let request = Request::new(text).variables(variables);
        Ok(match self.operation_name {
            Some(operation) => request.operation_name(operation),
            None => request,
        })
    }
}

/// The parameters as an address carries them.
#[derive(Debug, Deserialize)]
pub(super) struct Addressed {
    query: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}
