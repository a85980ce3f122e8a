//! Asking the model, through the control plane's provider gateway.
//!
//! Guarantees: answers are streamed; what may pass (rate limits, overload, a cut connection) is tried again a few times
//! and as the vendor asks; what will not (a refused key, a wrong request) ends at once, with a reason for people.
//! The vendor's key is not here: the gateway takes the pod's token for it.

use std::time::Duration;

use futures::StreamExt as _;
use genai::adapter::AdapterKind;
use genai::chat::{ChatOptions, ChatRequest, ChatStreamEvent, MessageContent, StopReason, StreamEnd};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};
use reqwest::header::HeaderMap;
use schemas::context::Tokens;
use schemas::pod::{FailureKind, Job, ModelProtocol, path};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::control_plane::{ControlPlane, chain};
use crate::failure::Stop;
use crate::text::{head, one_line};

/// How often one question is asked at most.
const TRIES: u32 = 4;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a vendor may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// How long the vendor may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// The model of a job.
pub(crate) struct Model {
    client: Client,
    control_plane: ControlPlane,
    target: ServiceTarget,
    options: ChatOptions,
    name: String,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) content: MessageContent,
    /// Whether it ended early because it had too many tokens.
    pub(crate) cut: bool,
    pub(crate) tokens: Tokens,
}

/// Why there is no answer.
struct Trouble {
    reason: String,
    remedy: Remedy,
}

/// What helps.
enum Remedy {
    /// Asking again, after as long as the vendor says, if it does.
    Again(Option<Duration>),
    /// Nothing.
    None,
    /// Nothing, because the attempt is over.
    Stop,
}

impl Model {
    /// # Errors
    /// When the library's client cannot be set up.
    pub(crate) fn new(job: &Job, control_plane: &ControlPlane) -> Result<Self, Stop> {
        let adapter = match job.protocol {
            ModelProtocol::Anthropic => AdapterKind::Anthropic,
            ModelProtocol::OpenAi => AdapterKind::OpenAI,
        };
        let target = ServiceTarget {
            // The library appends its paths to an address that ends with a slash.
            endpoint: Endpoint::from_owned(control_plane.address(path::MODELS) + "/v1/"),
            auth: AuthData::from_single(control_plane.token().expose()),
            model: ModelIden::new(adapter, job.model.clone()),
        };
        let options = ChatOptions::default()
            .with_max_tokens(job.limits.max_output_tokens)
            .with_capture_content(true)
            .with_capture_tool_calls(true)
            .with_capture_reasoning_content(true)
            .with_capture_usage(true)
            .with_stream_header_timeout(SILENCE)
            .with_stream_read_timeout(SILENCE)
            // The library reads meaning into some names (`…-high`); the job's name is sent as it is.
            .with_extra_body(json!({ "model": job.model }));
        let client = Client::builder().with_reqwest(control_plane.http()).build();
        let client = client.map_err(|error| Stop::internal(format!("the model's client cannot be set up: {error}")))?;
        Ok(Self { client, control_plane: control_plane.clone(), target, options, name: job.model.clone() })
    }

    /// Asks until there is an answer, for as long as `deadline` allows.
    ///
    /// # Errors
    /// [`FailureKind::ModelError`] with a reason, or that the attempt is over.
    pub(crate) async fn ask(&self, request: &ChatRequest, deadline: Instant) -> Result<Answer, Stop> {
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            let trouble = match self.ask_once(request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            let failed = |note: &str| Stop::failed(FailureKind::ModelError, format!("{}{note}", trouble.reason));
            let asked = match trouble.remedy {
                Remedy::Again(asked) => asked,
                Remedy::None => return Err(failed("")),
                Remedy::Stop => return Err(Stop::Over(trouble.reason)),
            };
            if attempt == TRIES {
                return Err(failed(&format!(" (tried {TRIES} times)")));
            }
            let wait = asked.unwrap_or(pause);
            if wait > LONGEST_PAUSE || Instant::now() + wait >= deadline {
                return Err(failed(&format!(
                    " (the next try would have been in {} s, which is too late)",
                    wait.as_secs()
                )));
            }
            tracing::warn!(reason = trouble.reason, attempt, wait_ms = wait.as_millis(), "the model is asked again");
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(Stop::internal("the model was not asked"))
    }

    async fn ask_once(&self, request: ChatRequest) -> Result<Answer, Trouble> {
        let mut options = self.options.clone();
        if let Some(traceparent) = self.control_plane.traceparent() {
            options = options.with_extra_headers([("traceparent", traceparent)]);
        }
        let trouble = |error: genai::Error| self.trouble(error);
        let answer =
            self.client.exec_chat_stream(self.target.clone(), request, Some(&options)).await.map_err(trouble)?;
        let mut stream = answer.stream;
        while let Some(event) = stream.next().await {
            if let ChatStreamEvent::End(end) = event.map_err(trouble)? {
                return Ok(answer_of(end));
            }
        }
        Err(self.passing("the connection to the model's vendor broke off in the middle of its answer", None))
    }

    fn trouble(&self, error: genai::Error) -> Trouble {
        match error {
            // A stream's HTTP error is inside of its own.
            genai::Error::WebStream { error, cause, .. } => match error.downcast::<genai::Error>() {
                Ok(inner) => self.trouble(*inner),
                Err(_) => self.passing(&format!("the model's vendor cannot be reached: {cause}"), None),
            },
            genai::Error::HttpError { status, body, headers, .. } => self.refused(status.as_u16(), &body, &headers),
            genai::Error::ChatResponse { body, .. } => {
                let said = message_of(&body);
                let kind = body.pointer("/error/type").or_else(|| body.get("type")).and_then(Value::as_str);
                let lasting =
                    matches!(kind, Some("invalid_request_error" | "authentication_error" | "permission_error"));
                let reason = format!("the model's vendor broke off its answer with an error: {said}");
                if lasting { self.lasting(&reason) } else { self.passing(&reason, None) }
            }
            genai::Error::StreamParse { serde_error, .. } => {
                self.passing(&format!("the model's vendor sent an answer that cannot be read: {serde_error}"), None)
            }
            other => {
                let reason = format!("the model's vendor sent an answer that cannot be used: {}", chain(&other));
                self.passing(&reason, None)
            }
        }
    }

    fn refused(&self, status: u16, body: &str, headers: &HeaderMap) -> Trouble {
        let said = match serde_json::from_str::<Value>(body) {
            Ok(json) => message_of(&json),
            Err(_) => one_line(body, 300),
        };
        let said = if said.is_empty() { String::new() } else { format!(". It said: {said}") };
        let model = &self.name;
        let reason = match status {
            401 | 403 => format!(
                "the model's vendor refused the key ({status}): check the key of the provider that this run uses{said}"
            ),
            402 => format!("the model's vendor wants to be paid first (402): check the account of the provider{said}"),
            404 => format!(
                "the model's vendor does not know `{model}` (404): check the model's name and the provider's base URL{said}"
            ),
            410 => {
                return Trouble {
                    reason: "the provider gateway is closed to this attempt".into(),
                    remedy: Remedy::Stop,
                };
            }
            413 => format!("the conversation became too long for the model (413){said}"),
            429 => format!(
                "the model's vendor limits the rate (429): wait, or raise the limit of the provider's account{said}"
            ),
            500.. => format!("the model's vendor is in trouble ({status}): try again later{said}"),
            _ => format!("the model's vendor refused the request ({status}){said}"),
        };
        match status {
            408 | 409 | 425 | 429 | 500.. => self.passing(&reason, retry_after(headers)),
            _ => self.lasting(&reason),
        }
    }

    fn lasting(&self, reason: &str) -> Trouble {
        Trouble { reason: self.control_plane.token().redact(reason), remedy: Remedy::None }
    }

    fn passing(&self, reason: &str, after: Option<Duration>) -> Trouble {
        Trouble { remedy: Remedy::Again(after), ..self.lasting(reason) }
    }
}

fn answer_of(end: StreamEnd) -> Answer {
    let count = |tokens: Option<i32>| tokens.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
    let usage = end.captured_usage.unwrap_or_default();
    let cached = usage.prompt_tokens_details.as_ref().and_then(|it| it.cached_tokens);
    let tokens = Tokens {
        model_calls: 1,
        input: count(usage.prompt_tokens),
        cached_input: count(cached),
        output: count(usage.completion_tokens),
    };
    let cut = matches!(end.captured_stop_reason, Some(StopReason::MaxTokens(_)));
    Answer { content: end.captured_content.unwrap_or_default(), cut, tokens }
}

/// How long the vendor asks to wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The message in a vendor's error body.
fn message_of(body: &Value) -> String {
    let message = body.pointer("/error/message").or_else(|| body.get("message")).or_else(|| body.get("detail"));
    let text = message.and_then(Value::as_str).map_or_else(|| body.to_string(), str::to_owned);
    one_line(head(&text, 2_000), 500)
}
