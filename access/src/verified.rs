//! Tokens whose signature was found to hold: a client sends the same one again and again.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use ring::digest;
use schemas::claims::ApiClaims;

use crate::LEEWAY_SECONDS;

/// Tokens that are remembered; what was not used for longest goes first. Not zero: the compiler has seen to it.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Claims by the digest of the token that they stand in. The token itself is not kept.
#[derive(Debug)]
pub(crate) struct Verified(Mutex<LruCache<[u8; 32], ApiClaims>>);

impl Default for Verified {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl Verified {
    /// The claims of a token that was verified before and has not ended since.
    pub(crate) fn get(&self, token: &str) -> Option<ApiClaims> {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = verified.get(&digest_of(token))?;
        let end = u64::try_from(claims.exp).ok()?.saturating_add(LEEWAY_SECONDS);
        // By the clock of the library that verified it.
        (jsonwebtoken::get_current_timestamp() < end).then(|| claims.clone())
    }

    pub(crate) fn put(&self, token: &str, claims: &ApiClaims) {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        verified.put(digest_of(token), claims.clone());
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use domain::Actor;
    use schemas::claims::{API_AUDIENCE, ISSUER, Role};
    use uuid::Uuid;

    use super::*;

    fn claims(ends_in: i64) -> ApiClaims {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
        ApiClaims {
            iss: ISSUER.to_owned(),
            aud: API_AUDIENCE.to_owned(),
            sub: Actor::Operator("ada".to_owned()),
            tenant: None,
            role: Role::Operator,
            iat: now,
            exp: now + ends_in,
            jti: Uuid::nil(),
        }
    }

    #[test]
    fn a_token_is_remembered_until_it_ends_and_no_other_is_taken_for_it() {
        let verified = Verified::default();
        verified.put("a.b.c", &claims(60));
        verified.put("x.y.z", &claims(-60));
        assert_eq!(verified.get("a.b.c").map(|claims| claims.sub), Some(Actor::Operator("ada".to_owned())));
        assert!(verified.get("a.b.d").is_none());
        assert!(verified.get("x.y.z").is_none(), "it has ended");
    }
}
