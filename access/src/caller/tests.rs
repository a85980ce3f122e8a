//! Tokens as they come in over HTTP.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use schemas::claims::API_AUDIENCE;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::{ApiGrant, MintError, PodGrant, SigningKey};

/// A day for tokens that hold: far off, so that the tests need no clock.
fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()
}

fn owner(tenant: TenantId) -> ApiGrant {
    ApiGrant { actor: Actor::Operator("ada".into()), tenant: Some(tenant), role: Role::Owner, lifetime: Duration::HOUR }
}

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(7))
}

fn claims() -> Value {
    json!({
        "iss": "agentworks", "aud": API_AUDIENCE, "sub": "operator:ada", "tenant": tenant(), "role": "owner",
        "iat": 0, "exp": 4_000_000_000_i64, "jti": Uuid::nil(),
    })
}

fn sign(key: &SigningKey, claims: &Value) -> String {
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &key.encoding).unwrap()
}

#[test]
fn a_token_says_who_acts() {
    let key = SigningKey::generate().unwrap();
    let verifier = Verifier::new([SigningKey::generate().unwrap().verifying().clone(), key.verifying().clone()]);
    let token = key.mint_api(owner(tenant()), now(), Uuid::nil()).unwrap();
    let caller = verifier.caller(&token).unwrap();
    assert_eq!(caller, Caller { tenant: Some(tenant()), actor: Actor::Operator("ada".into()), role: Role::Owner });
}

#[test]
fn a_pods_token_opens_the_pods_door_only() {
    let key = SigningKey::generate().unwrap();
    let verifier = Verifier::new([key.verifying().clone()]);
    let id = Uuid::from_u128(1);
    let grant = PodGrant {
        tenant: tenant(),
        project: domain::ProjectId::from_uuid(id),
        run: domain::RunId::from_uuid(id),
        attempt: 2,
        environment: domain::EnvironmentId::from_uuid(id),
        lifetime: Duration::HOUR,
    };
    let pod = key.mint_pod(&grant, now(), id).unwrap();
    assert_eq!(verifier.pod(&pod).unwrap().attempt, 2);
    assert_eq!(verifier.api(&pod), Err(TokenError::WrongAudience));
    let api = key.mint_api(owner(tenant()), now(), id).unwrap();
    assert_eq!(verifier.pod(&api), Err(TokenError::WrongAudience));
}

#[test]
fn a_grant_that_contradicts_itself_is_not_minted_and_not_taken() {
    let key = SigningKey::generate().unwrap();
    let contradictions = [
        ApiGrant { tenant: None, ..owner(tenant()) },
        ApiGrant { role: Role::Operator, ..owner(tenant()) },
        ApiGrant { actor: Actor::System("x".into()), ..owner(tenant()) },
    ];
    for grant in contradictions {
        assert_eq!(key.mint_api(grant, now(), Uuid::nil()), Err(MintError::Contradiction));
    }
    let verifier = Verifier::new([key.verifying().clone()]);
    for (name, value) in [("role", json!("operator")), ("sub", json!("system:x")), ("tenant", Value::Null)] {
        let mut claims = claims();
        claims[name] = value;
        assert_eq!(verifier.api(&sign(&key, &claims)), Err(TokenError::Malformed), "{name}");
    }
}

#[test]
fn what_does_not_hold_is_told_apart() {
    let key = SigningKey::generate().unwrap();
    let verifier = Verifier::new([key.verifying().clone()]);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        sign(&key, &claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        sign(&key, &claims)
    };
    assert!(verifier.api(&sign(&key, &claims())).is_ok());
    assert_eq!(verifier.api(""), Err(TokenError::Missing));
    for text in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(verifier.api(text), Err(TokenError::Malformed), "{text}");
    }
    assert_eq!(verifier.api(&with("exp", json!(1_000_000))), Err(TokenError::Expired));
    assert_eq!(verifier.api(&with("aud", json!("other"))), Err(TokenError::WrongAudience));
    assert_eq!(verifier.api(&with("iss", json!("other"))), Err(TokenError::WrongAudience));
    for name in ["exp", "aud", "iss", "sub", "role", "jti"] {
        assert_eq!(verifier.api(&without(name)), Err(TokenError::Malformed), "{name}");
    }
    let stranger = SigningKey::generate().unwrap();
    assert_eq!(verifier.api(&sign(&stranger, &claims())), Err(TokenError::WrongSignature));
    // A stranger that names our key.
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::EdDSA) };
    let forged = jsonwebtoken::encode(&header, &claims(), &stranger.encoding).unwrap();
    assert_eq!(verifier.api(&forged), Err(TokenError::WrongSignature));
    // Another algorithm under our key's name.
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::HS256) };
    let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(b"x")).unwrap();
    assert_eq!(verifier.api(&forged), Err(TokenError::WrongSignature));
}

#[tokio::test]
async fn over_http_every_refusal_is_a_401_with_its_code() {
    let key = SigningKey::generate().unwrap();
    let verifier = Verifier::new([key.verifying().clone()]);
    let app =
        Router::new().route("/", get(|caller: Caller| async move { caller.actor.to_string() })).with_state(verifier);
    let ask = |authorization: Option<String>| {
        let mut request = Request::get("/");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        app.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let good = key.mint_api(owner(tenant()), now(), Uuid::nil()).unwrap();
    assert_eq!(ask(Some(format!("bearer {good}"))).await.unwrap().status(), StatusCode::OK);
    let mut old = claims();
    old["exp"] = json!(1);
    let cases = [
        (None, "token_missing"),
        (Some("Bearer".into()), "token_missing"),
        (Some("Bearer ".into()), "token_missing"),
        (Some("Basic eDp5".into()), "token_malformed"),
        (Some("Bearer x".into()), "token_malformed"),
        (Some(format!("Bearer {}", sign(&key, &old))), "token_expired"),
        (Some(format!("Bearer {}", sign(&SigningKey::generate().unwrap(), &claims()))), "token_invalid"),
    ];
    for (authorization, code) in cases {
        let response = ask(authorization).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(challenge.contains("invalid_token"), code != "token_missing");
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap();
        assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some(code), Some(401)));
    }
}
