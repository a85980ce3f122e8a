//! What runs inside an environment.
