//! Providers: a tenant's accounts with model vendors. A key comes in here and never goes out again.

use axum::extract::State;
use domain::ProviderId;
use domain::id::ProviderKind as ProviderIdKind;
use domain::provider::{ProviderKind, ProviderSettings};
use domain::value::{BaseUrl, ModelName, Name};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answered, Done, Outcome};
use super::asked::{Asked, Ids};
use super::values::{Nothing, nullable, provider_kind, secret};
use super::{Api, Shared};
use crate::order::{ProviderChange, ProviderOrder};
use crate::{Caller, Order, Request};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(configure))
        .routes(routes!(rotate_key))
        .routes(routes!(enable))
        .routes(routes!(disable))
}

/// A new provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Our Anthropic account", "kind": "anthropic", "default_model": "claude-sonnet-4-5", "key": "sk-ant-…",
}))]
struct RegisterProvider {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The vendor's protocol; it cannot change later.
    #[schema(schema_with = provider_kind)]
    kind: ProviderKind,
    /// Where the vendor's API is; the vendor's public address when absent.
    #[schema(format = "uri")]
    base_url: Option<String>,
    /// The model to use where a project names none.
    default_model: String,
    /// The account's key. Kept in the vault; never given out.
    #[schema(value_type = String, format = Password, write_only, min_length = 1, max_length = 8192)]
    key: SecretString,
}

/// Register a provider
#[utoipa::path(post, path = "/providers", operation_id = "registerProvider", tag = "providers", request_body = RegisterProvider,
    responses((status = CREATED, description = "The provider exists and is enabled.", body = Outcome)))]
async fn register(State(api): State<Shared>, caller: Caller, asked: Asked<RegisterProvider>) -> Answered {
    let body = asked.body;
    let settings = ProviderSettings {
        name: Name::new(&body.name)?,
        kind: body.kind,
        base_url: body.base_url.map(|url| BaseUrl::new(&url)).transpose()?,
        default_model: default_model(&body.default_model)?,
    };
    let key = secret("key", "key_invalid", body.key)?;
    let request = asked.envelope.request(&caller);
    let (request, key) = request.with_secret(&api.vault, key);
    let order = Order::Provider(ProviderOrder::Register { settings, key });
    let answer = api.send(&caller, request, order).await?;
    Ok(Done::created::<ProviderIdKind>(&answer, "/v1/providers"))
}

/// Other settings; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "default_model": "claude-opus-4-1", "base_url": null }))]
struct ConfigureProvider {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Where the vendor's API is; `null` for the vendor's public address.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = "uri")]
    base_url: Option<Option<String>>,
    /// The model to use where a project names none.
    default_model: Option<String>,
}

/// Change a provider's settings
#[utoipa::path(patch, path = "/providers/{provider}", operation_id = "configureProvider", tag = "providers",
    request_body = ConfigureProvider, responses((status = OK, description = "The provider has these settings.", body = Outcome)))]
async fn configure(
    State(api): State<Shared>,
    caller: Caller,
    Ids(provider): Ids<ProviderId>,
    asked: Asked<ConfigureProvider>,
) -> Answered {
    let ConfigureProvider { name, base_url, default_model: model } = asked.body;
    let configured = ProviderChange::Configure {
        name: name.map(|name| Name::new(&name)).transpose()?,
        base_url: base_url.map(|url| url.map(|url| BaseUrl::new(&url)).transpose()).transpose()?,
        default_model: model.map(|model| default_model(&model)).transpose()?,
    };
    let request = asked.envelope.request(&caller);
    change(&api, &caller, provider, request, configured).await
}

/// Another key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key": "sk-ant-…" }))]
struct RotateKey {
    /// The new key. Kept in the vault; never given out.
    #[schema(value_type = String, format = Password, write_only, min_length = 1, max_length = 8192)]
    key: SecretString,
}

/// Give a provider another key
#[utoipa::path(post, path = "/providers/{provider}/rotate-key", operation_id = "rotateProviderKey", tag = "providers",
    request_body = RotateKey, responses((status = OK, description = "The provider uses this key.", body = Outcome)))]
async fn rotate_key(
    State(api): State<Shared>,
    caller: Caller,
    Ids(provider): Ids<ProviderId>,
    asked: Asked<RotateKey>,
) -> Answered {
    let key = secret("key", "key_invalid", asked.body.key)?;
    let (request, key) = asked.envelope.request(&caller).with_secret(&api.vault, key);
    change(&api, &caller, provider, request, ProviderChange::RotateKey { key }).await
}

/// Let runs use a provider again
#[utoipa::path(post, path = "/providers/{provider}/enable", operation_id = "enableProvider", tag = "providers",
    request_body = Nothing, responses((status = OK, description = "The provider is enabled.", body = Outcome)))]
async fn enable(
    State(api): State<Shared>,
    caller: Caller,
    Ids(provider): Ids<ProviderId>,
    asked: Asked<Nothing>,
) -> Answered {
    let request = asked.envelope.request(&caller);
    change(&api, &caller, provider, request, ProviderChange::Enable).await
}

/// Keep runs from using a provider
#[utoipa::path(post, path = "/providers/{provider}/disable", operation_id = "disableProvider", tag = "providers",
    request_body = Nothing, responses((status = OK, description = "The provider is disabled.", body = Outcome)))]
async fn disable(
    State(api): State<Shared>,
    caller: Caller,
    Ids(provider): Ids<ProviderId>,
    asked: Asked<Nothing>,
) -> Answered {
    let request = asked.envelope.request(&caller);
    change(&api, &caller, provider, request, ProviderChange::Disable).await
}

async fn change(
    api: &Api,
    caller: &Caller,
    provider: ProviderId,
    request: Request,
    change: ProviderChange,
) -> Answered {
    let order = Order::Provider(ProviderOrder::Change { provider, change });
    Ok(Done::changed::<ProviderIdKind>(&api.send(caller, request, order).await?))
}

fn default_model(text: &str) -> Result<ModelName, domain::Invalid> {
    ModelName::new(text).map_err(|invalid| domain::Invalid { field: "default_model", ..invalid })
}
