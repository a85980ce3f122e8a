//! Names on the bus. A tenant or a card id never stands in a *stored* subject: memory on the server grows with the
//! number of distinct subjects.

/// The JetStream stream that carries every event.
pub const STREAM: &str = "EVENTS";
/// The subjects that [`STREAM`] holds.
pub const EVENTS: &str = "evt.>";

/// Where an aggregate's events of one partition are published: `evt.<partition>.<aggregate>`.
pub fn event(partition: i32, aggregate_type: &str) -> String {
    format!("evt.{partition}.{aggregate_type}")
}

/// Every event of one partition.
pub fn partition(partition: i32) -> String {
    format!("evt.{partition}.*")
}

/// Every event of one kind of aggregate, of all partitions.
pub fn aggregate(aggregate_type: &str) -> String {
    format!("evt.*.{aggregate_type}")
}

/// Core NATS (not stored): "this consumer has reached this position of this partition". The body is JSON:
/// `{"after": 7, "position": 9, "topics": ["<uuid>", …]}`, where no topics means that what changed is not known.
pub fn progress(consumer: &str, partition: i32) -> String {
    format!("progress.{consumer}.{partition}")
}

/// Core NATS (not stored): wakes the job dispatchers. The body is empty.
pub const JOBS: &str = "wake.jobs";

/// Header names of a CloudEvents 1.0 message in binary mode ([`crate::CloudEvent`]), and ours beside them.
pub mod header {
    /// CloudEvents `specversion`, always `1.0`.
    pub const SPEC_VERSION: &str = "ce-specversion";
    /// CloudEvents `id`: the event id in text form.
    pub const ID: &str = "ce-id";
    /// CloudEvents `source`: `/agentworks/<aggregate>`.
    pub const SOURCE: &str = "ce-source";
    /// CloudEvents `type`: the event type.
    pub const TYPE: &str = "ce-type";
    /// CloudEvents `subject`: the stream's id as a bare UUID.
    pub const SUBJECT: &str = "ce-subject";
    /// CloudEvents `time`: when it occurred, RFC 3339.
    pub const TIME: &str = "ce-time";
    /// CloudEvents `datacontenttype`, always `application/json`.
    pub const CONTENT_TYPE: &str = "ce-datacontenttype";
    /// CloudEvents `dataschema`: the `$id` of the payload's schema.
    pub const DATA_SCHEMA: &str = "ce-dataschema";
    /// Extension: whose it is.
    pub const TENANT: &str = "ce-tenant";
    /// Extension: the part of the log.
    pub const PARTITION: &str = "ce-partition";
    /// Extension: the position in the partition.
    pub const CE_POSITION: &str = "ce-position";
    /// Extension: the same as a cursor of the APIs.
    pub const CURSOR: &str = "ce-cursor";
    /// Extension: the place in the stream.
    pub const STREAM_VERSION: &str = "ce-streamversion";
    /// Extension: the version of the payload.
    pub const EVENT_VERSION: &str = "ce-eventversion";
    /// Extension: who acted.
    pub const ACTOR: &str = "ce-actor";
    /// Extension: the command.
    pub const COMMAND: &str = "ce-command";
    /// CloudEvents correlation extension: the outside request.
    pub const CORRELATION: &str = "ce-correlationid";
    /// CloudEvents correlation extension: the causing event.
    pub const CAUSATION: &str = "ce-causationid";
    /// CloudEvents distributed tracing extension.
    pub const CE_TRACEPARENT: &str = "ce-traceparent";
    /// CloudEvents recorded time extension.
    pub const RECORDED_TIME: &str = "ce-recordedtime";
    /// Extension: the event's digest.
    pub const DIGEST: &str = "ce-digest";
    /// Extension: the stream's chain.
    pub const CHAIN: &str = "ce-chain";
    /// W3C trace context, for whoever continues the trace.
    pub const TRACEPARENT: &str = "traceparent";
    /// The rest of the envelope, as JSON: [`crate::Recorded`] without its payload.
    pub const ENVELOPE: &str = "aw-envelope";
    /// The position in the partition, in decimal: where a relay resumes.
    pub const POSITION: &str = "aw-position";
    /// `1` when the event at the next position follows from the same command; else the header is absent.
    pub const MORE: &str = "aw-more";
}
