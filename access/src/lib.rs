//! Who is asking: tokens, and the answer for people who may not.
//!
//! A token is a JWT signed with Ed25519. Both APIs and the pods' door verify it here, and answer in the same words
//! ([`Problem`], RFC 9457) when it does not hold. Guarantees: the algorithm, issuer and audience are pinned, an end is
//! required, and a caller's tenant and role come from the token alone. Never: a token, a key or the library's own
//! error text in a log or an answer.

mod caller;
mod key;
pub mod key_file;
mod master_key;
mod personal;
mod problem;
mod token;
mod verified;

pub use caller::Caller;
pub use key::{KeyError, SigningKey, VerifyingKey};
pub use master_key::{MasterKeyError, MasterKeys, SealError, Sealed};
pub use personal::SubjectKey;
pub use problem::Problem;
pub use schemas::claims::Role;
pub use token::{ApiGrant, LEEWAY_SECONDS, MintError, PodGrant, TokenError, Verifier};
