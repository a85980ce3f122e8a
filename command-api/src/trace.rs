//! Trace context: from a request into its span, and from the span into the event's metadata.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Continues the trace that `traceparent` names, when the caller of this function is in none. `span` must be new.
pub(crate) fn continue_from(span: &Span, traceparent: Option<&str>) {
    if current().is_some() {
        return;
    }
    if let Some(remote) = traceparent.and_then(parse) {
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
        // Fails only where no tracing layer is installed: nothing to continue then.
        let _ = span.set_parent(context);
    }
}

/// The `traceparent` of what happens now: the current span's, else the one that was given, when it is one.
pub(crate) fn parent(given: Option<&str>) -> Option<String> {
    current().or_else(|| given.filter(|text| parse(text).is_some()).map(str::to_owned))
}

/// The current span as a W3C `traceparent`, when it is traced.
fn current() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(flags),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_trace_contexts_are_read() {
        let good = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(good.span_id().to_string(), "b7ad6b7169203331");
        for bad in ["", "00", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1-1-01", "00-x-y-z"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
