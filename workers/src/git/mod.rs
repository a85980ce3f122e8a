//! What the workers themselves ask of a Git repository over smart HTTP: which branches it has and where they stand.
//! Pushing and fetching is the pods' part, through the pod gateway.

pub mod advertisement;
pub(crate) mod client;
pub(crate) mod pkt_line;
pub mod probe;
