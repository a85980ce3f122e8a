//! agentworks
