//! The provider gateway: a pod's call of its task's model, made with the tenant's key.
//!
//! Guarantees: the vendor's answer is passed on byte for byte as it comes; what it cost is recorded, also when the pod
//! goes away in the middle; the model is the task's. Never: the tenant's key towards the pod, or the pod's token towards
//! the vendor; the words of a conversation in a log.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::provider::{Provider, ProviderKind};
use domain::run::RunCommand;
use domain::value::ModelName;
use futures::StreamExt as _;
use outbox::trace;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{Instrument as _, warn};
use url::Url;

use super::Gateway;
use super::admission::{CurrentPod, Pod};
use super::usage::Meter;
use super::vendor;
use crate::http::describe;
use crate::ids;

/// Pieces of an answer on their way to a slow pod.
const IN_FLIGHT: usize = 16;

/// POST below [`schemas::pod::path::MODELS`].
pub(super) async fn call(
    State(gateway): State<Gateway>,
    Path(rest): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let pod = match gateway.admit_current(&headers).await {
        Ok(pod) => pod,
        Err(problem) => return problem.into_response(),
    };
    let span = tracing::info_span!(
        "model call",
        run.id = %pod.pod.claims.run,
        tenant.id = %pod.pod.claims.tenant,
        model = %pod.task.model,
        status = tracing::field::Empty,
    );
    trace::continue_from(&span, pod.pod.origin.traceparent.as_deref());
    gateway.call(pod, &rest, &headers, body).instrument(span).await
}

/// A call that may be made.
struct Call {
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// Why it may not: in the vendor's own shape.
struct Refused(StatusCode, &'static str, String);

impl Gateway {
    async fn call(&self, current: CurrentPod, rest: &str, headers: &HeaderMap, body: Bytes) -> Response {
        let kind = current.task.provider_kind;
        let call = match self.prepare(&current, rest, headers, body).await {
            Ok(call) => call,
            Err(Refused(status, code, message)) => return vendor::error(kind, status, code, &message),
        };
        let began = Instant::now();
        let bad_gateway = |message: &str| vendor::error(kind, StatusCode::BAD_GATEWAY, "api_error", message);
        let request = match self.http.api(Method::POST, call.url) {
            Ok(request) => request.headers(call.headers).body(call.body),
            Err(error) => return bad_gateway(&format!("the provider's address cannot be called: {error}")),
        };
        match request.send().await {
            Ok(answer) => self.answer(current, kind, began, answer),
            Err(error) => {
                let problem = describe(&error);
                warn!(error = problem, "a model's vendor cannot be reached");
                bad_gateway(&format!("the model's vendor cannot be reached: {problem}"))
            }
        }
    }

    async fn prepare(
        &self,
        current: &CurrentPod,
        rest: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Call, Refused> {
        let kind = current.task.provider_kind;
        let invalid = |message: String| Refused(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        if rest != vendor::path(kind) {
            let message = format!("this run may call `{}` only", vendor::path(kind));
            return Err(Refused(StatusCode::NOT_FOUND, "not_found_error", message));
        }
        let mut json: Value =
            serde_json::from_slice(&body).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
        let model = current.task.model.as_str();
        if json.get("model").and_then(Value::as_str) != Some(model) {
            return Err(invalid(format!("this run uses the model `{model}`; the body must name it")));
        }
        let (base_url, key) = self.account(current).await?;
        let unusable = || invalid("the provider's address or key cannot be used in a request".to_owned());
        let url = vendor::url(kind, base_url.as_deref()).ok_or_else(unusable)?;
        let headers = vendor::request_headers(kind, headers, &key).ok_or_else(unusable)?;
        let body = if vendor::ask_for_usage(kind, &mut json) { json.to_string().into() } else { body };
        Ok(Call { url, headers, body })
    }

    /// The provider's address and key, as they are now.
    async fn account(&self, current: &CurrentPod) -> Result<(Option<String>, SecretString), Refused> {
        let (tenant, provider) = (current.pod.claims.tenant, current.task.provider);
        let away = |problem: &dyn std::fmt::Display| {
            warn!(error = %problem, "a model call waits for the database or the vault");
            Refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "api_error",
                "the provider cannot be looked up just now".to_owned(),
            )
        };
        let forbidden = |message: &str| Refused(StatusCode::FORBIDDEN, "permission_error", message.to_owned());
        let provider = self.control.load_provider(tenant, provider).await.map_err(|error| away(&error))?;
        let Provider::Registered { settings, key, enabled } = provider else {
            return Err(forbidden("the run's provider does not exist any more"));
        };
        if !enabled {
            return Err(forbidden("the run's provider was disabled; enable it and run the card again"));
        }
        let secret = self.control.secret(tenant, &key).await.map_err(|error| away(&error))?;
        let secret =
            secret.ok_or_else(|| forbidden("the provider's key is not in the vault; give the provider a new one"))?;
        Ok((settings.base_url.map(|url| url.to_string()), secret))
    }

    /// Passes the answer on and records what it cost.
    fn answer(&self, current: CurrentPod, kind: ProviderKind, began: Instant, answer: reqwest::Response) -> Response {
        let status = answer.status();
        tracing::Span::current().record("status", status.as_u16());
        let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut meter = Meter::new(kind, content_type.unwrap_or_default());
        let headers = vendor::answer_headers(answer.headers());
        let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(IN_FLIGHT);
        let gateway = self.clone();
        let pump = async move {
            let mut pieces = answer.bytes_stream();
            while let Some(piece) = pieces.next().await {
                if let Ok(piece) = &piece {
                    meter.feed(piece);
                }
                let broken = piece.is_err();
                let piece = piece.map_err(|error| std::io::Error::other(describe(&error)));
                if sender.send(piece).await.is_err() || broken {
                    break;
                }
            }
            let usage = meter.finish();
            let model = usage.model.as_deref().and_then(|model| ModelName::new(model).ok());
            let command = RunCommand::RecordModelCall {
                attempt: current.pod.attempt(),
                provider: current.task.provider,
                model: model.unwrap_or(current.task.model),
                input_tokens: usage.input,
                output_tokens: usage.output,
                cache_read_tokens: usage.cache_read,
                cache_write_tokens: usage.cache_write,
                status: status.as_u16(),
                duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            gateway.record(&current.pod, command).await;
        };
        // A task of its own: the pod may go away, the bill stays.
        tokio::spawn(pump.instrument(tracing::Span::current()));
        // For a pod, 410 has a meaning of its own.
        let status = if status == StatusCode::GONE { StatusCode::NOT_FOUND } else { status };
        (status, headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
    }

    async fn record(&self, pod: &Pod, command: RunCommand) {
        metrics::counter!("agentworks_model_calls_total").increment(1);
        if let Err(problem) = self.tell(pod, &format!("model/{}", ids::fresh()), command).await {
            warn!(run = %pod.claims.run, problem = problem.detail(), "the cost of a model call was not recorded");
        }
    }
}
