//! The one way in: commands from HTTP, workers and the command line.
//!
//! [`Dispatcher`] takes an [`Order`] — what is asked, with ids and checked values — and does, always in this order:
//! authorize → deduplicate → look up facts → decide → append. [`router`] is its HTTP skin. Guarantees: repeating a
//! request changes nothing and answers the same; another tenant's thing looks exactly like what does not exist; a
//! secret goes into the [`vault`] and nowhere else. Never: a rule of the domain here, or state changed past the
//! dispatcher.

mod caller;
mod clock;
mod dispatcher;
mod error;
mod facts;
pub mod http;
pub mod order;
mod request;
mod turn;
pub mod vault;

pub use caller::Caller;
pub use dispatcher::{Answer, Dispatcher};
pub use error::{DispatchError, Refused};
pub use facts::{BoardFacts, FactsUnavailable};
pub use http::probe::{ProbeError, ProbedRepository, RepositoryProbe};
pub use http::{Api, openapi, router};
pub use order::Order;
pub use request::Request;
