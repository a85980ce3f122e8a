//! The pod token: what it is shown to, and how it is kept out of everything else.
//!
//! Guarantees: never printed, not even by `Debug`; [`PodToken::redact`] takes it out of any text that leaves the pod.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

/// What stands where the token stood.
const REDACTED: &str = "[redacted]";

/// The short-lived token of this attempt.
#[derive(Debug, Clone)]
pub(crate) struct PodToken(Arc<SecretString>);

impl PodToken {
    /// None for a token that is empty or cannot stand in an HTTP header.
    pub(crate) fn new(token: String) -> Option<Self> {
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(Arc::new(SecretString::from(token))))
    }

    /// The token itself, for the model's vendor's key header. Only for the control plane's eyes.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value of an `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.expose())
    }

    /// The text without the token.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(self.expose(), REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_does_not_show() {
        let token = PodToken::new("s3cret".to_owned()).unwrap();
        assert_eq!(token.redact("a s3cret b s3cret"), "a [redacted] b [redacted]");
        assert!(!format!("{token:?}").contains("s3cret"));
        assert!(PodToken::new("two\nlines".to_owned()).is_none());
    }
}
